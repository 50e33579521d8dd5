"""(placeholder by the lead so that actors can be tested; the context owner replaces this file)"""
def window(messages, budget_tokens, instructions):
    return list(messages)
