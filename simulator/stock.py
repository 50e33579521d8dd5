"""Words in stock: what the persona's skills and small talk are put together from."""

from __future__ import annotations

from textwrap import dedent


def block(text: str) -> str:
    """A text of several lines, written with the indentation of the code around it."""
    return dedent(text).strip("\n")


LISTS = {
    "colo": ["**Red**", "**Teal**", "**Saffron**", "**Indigo**", "**Moss green**", "**Coral**"],
    "animal": ["Otter 🦦", "Hedgehog 🦔", "Heron", "Octopus 🐙", "Lynx", "Tortoise 🐢", "Bee 🐝"],
    "fruit": ["Apple 🍎", "Fig", "Mango 🥭", "Quince", "Cherry 🍒", "Pear 🍐", "Blackberry"],
    "planet": ["Mercury", "Venus", "Earth 🌍", "Mars", "Jupiter", "Saturn 🪐", "Uranus", "Neptune"],
    "cit": ["Lisbon", "Kyoto", "Oaxaca", "Tallinn", "Cape Town", "Montréal", "Hanoi", "Ghent"],
    "book": [
        "one you loved at twelve",
        "one about the sea",
        "one that a friend swears by",
        "one with a map in it",
        "one so thin it fits a pocket",
        "one you gave up on too early",
    ],
    "name": ["Juno", "Teo", "Amara", "Linus", "Saskia", "Ravi", "Inès", "Wren"],
    "language": ["Python", "Rust", "Elixir", "Go", "TypeScript", "Haskell", "SQL", "Lua"],
}

IDEAS = [
    "**Start small**: pick the part that takes ten minutes.",
    "**Ask somebody** who did it last year what they would skip.",
    "**Draw it** before you build it, however badly.",
    "**Halve it**: what is left if you drop every second feature?",
    "**Time it**: an hour on the clock beats a day in the calendar.",
    "**Walk**: the best thoughts come three streets from the desk.",
    "**Write the ending first**, then see what it needs.",
    "**Teach it** to someone; the gaps show at once.",
    "**Swap the order** of the two steps that you always do the same way.",
    "**Leave it** overnight and read it as a stranger.",
]

JOKES = [
    "My memory is excellent: I remember every word of our talk, and nothing whatever before it.",
    "Two queues meet in a data centre. Says one: “After you.” They are still there.",
    "I asked the database for a table near the window. It gave me a lock on it.",
    "A stream walks into a bar and orders a drink. And a drink. And a drink. And a",
    "I wanted to tell you the one about the timeout, but you would have stopped listening.",
    "Why did the cursor go home early? It had seen everything up to and including Friday.",
    "My cache and I had an argument. In the end it said what it always says.",
]

HAIKU = [
    block(
        """
        A word, then a pause
        {topic} drifts across the page
        the cursor still blinks
        """
    ),
    block(
        """
        Late light on the desk
        someone thinks of {topic}
        and forgets the tea
        """
    ),
    block(
        """
        First the rain, then birds
        {topic} waits behind the door
        like a folded map
        """
    ),
]

VERSES = [
    block(
        """
        I went to look for {topic}
        with nothing in my hand,
        and found a door half open
        to a blue and windy land.
        """
    ),
    block(
        """
        They say that {topic} never
        will answer when you call,
        but leave a window open
        and it comes in after all.
        """
    ),
    block(
        """
        O {topic}, slow and patient,
        you teach me how to wait:
        the early word is hurried,
        the good one may be late.
        """
    ),
    block(
        """
        At night the lamps remember
        what day forgot to say,
        and {topic} writes a letter
        that the morning takes away.
        """
    ),
    block(
        """
        So here's a song for {topic},
        it is not very long;
        if you can hum the first half
        you've written half the song.
        """
    ),
]

OPENINGS = [
    (
        "In a town where every clock ran a little late, there lived someone called **{hero}**, "
        "who had heard of {topic} and could not stop thinking about it."
    ),
    (
        "The morning it began, **{hero}** found a note under the door. It said only: *come and "
        "see, it is about {topic}*."
    ),
    (
        "Nobody in the harbour believed in {topic}, except **{hero}**, who had believed in it "
        "since the age of seven and saw no reason to stop."
    ),
]

TURNS = [
    (
        "The road led uphill, past the mill and the last of the gardens. A dog came along for a"
        " while, as dogs do, and then remembered something important and turned back."
    ),
    (
        "At the crossroads stood a woman who sold maps of places that did not exist yet. “Take "
        "this one,” she said. “You can pay me when you have been there.”"
    ),
    (
        "That night it rained. {hero} sat under a bridge, ate half an apple, saved the other "
        "half, and listened to the river tell the same story over and over, a little better "
        "each time."
    ),
    (
        "There was a lighthouse, and in it a keeper who wrote down every ship that passed. “The"
        " ones that do not pass,” said the keeper, “are in the second book.”"
    ),
    "For three days nothing happened at all, which {hero} later described as the hardest part.",
    (
        "Then, between two ordinary afternoons, there it was: not large, not loud, but without "
        "a doubt what everybody had been talking about. {hero} laughed out loud."
    ),
    (
        "A letter arrived, many times folded. It had been written by {hero}, years ago, to be "
        "opened by whoever had got this far."
    ),
]

ENDINGS = [
    (
        "When {hero} came home the clocks were still late, but it no longer seemed to matter. "
        "Some things are worth arriving at in your own time."
    ),
    (
        "And if you pass through that town today, ask for **{hero}**. You will be given tea, "
        "and half an apple, and the whole story from the beginning."
    ),
    "The map is on the wall now. There is one more place on it than there used to be.",
]

SNIPPETS = {
    "python": block(
        """
        def greet(name: str) -> str:
            return f"Hello, {name}!"


        print(greet("world"))
        """
    ),
    "javascript": block(
        """
        const greet = (name) => `Hello, ${name}!`;

        console.log(greet('world'));
        """
    ),
    "typescript": block(
        """
        const greet = (name: string): string => `Hello, ${name}!`;

        console.log(greet('world'));
        """
    ),
    "bash": block(
        """
        #!/usr/bin/env bash
        set -euo pipefail

        echo "Hello, ${1:-world}!"
        """
    ),
    "sql": block(
        """
        SELECT author, count(*) AS books
        FROM library
        GROUP BY author
        ORDER BY books DESC
        LIMIT 10;
        """
    ),
    "rust": block(
        """
        fn greet(name: &str) -> String {
            format!("Hello, {name}!")
        }

        fn main() {
            println!("{}", greet("world"));
        }
        """
    ),
    "go": block(
        """
        package main

        import "fmt"

        func main() {
        \tfmt.Println("Hello, world!")
        }
        """
    ),
    "html": block(
        """
        <!doctype html>
        <title>Hello</title>
        <h1>Hello, world!</h1>
        """
    ),
    "json": block(
        """
        {
          "greeting": "Hello",
          "to": ["world", "you"]
        }
        """
    ),
}

PYTHON_BY_TOPIC = {
    "fibonacci": block(
        """
        def fibonacci(n: int) -> list[int]:
            numbers = [0, 1]
            while len(numbers) < n:
                numbers.append(numbers[-1] + numbers[-2])
            return numbers[:n]


        print(fibonacci(10))
        """
    ),
    "fizzbuzz": block(
        """
        for n in range(1, 31):
            word = "Fizz" * (n % 3 == 0) + "Buzz" * (n % 5 == 0)
            print(word or n)
        """
    ),
    "prime": block(
        """
        def primes(limit: int) -> list[int]:
            return [n for n in range(2, limit) if all(n % d for d in range(2, int(n**0.5) + 1))]


        print(primes(50))
        """
    ),
    "sort": block(
        """
        def bubble_sort(items: list[int]) -> list[int]:
            items = items[:]
            for end in range(len(items) - 1, 0, -1):
                for i in range(end):
                    if items[i] > items[i + 1]:
                        items[i], items[i + 1] = items[i + 1], items[i]
            return items


        print(bubble_sort([3, 1, 2]))
        """
    ),
}

GREETINGS = [
    "Hello{name}! 👋 What shall we talk about?",
    "Hi{name}! Nice to have you here. What is on your mind?",
    "Good to see you{name}! Ask me something, or tell me something about yourself.",
]

THANKS = [
    "You're very welcome{name}! 😊",
    "Any time{name}! That was a pleasure.",
    "Glad it helped{name}! Is there anything else?",
]

FAREWELLS = [
    "Goodbye{name}! Come back whenever you like. 👋",
    "See you soon{name}! I'll be right here.",
]

FEELINGS = [
    "I'm well, thank you{name}! Every token in its place. And how are *you*?",
    "Cheerful as ever{name}: somebody is talking to me! How about you?",
]

NOTED = [
    "Got it, I'll keep that in mind{name}.",
    "Good to know{name}! I'll remember.",
    "Noted{name}. ✍️",
]

FOLLOW_UPS = [
    "Ask me about it later, and you'll see that I was listening.",
    "What else should I know?",
    "Tell me more, if you like!",
]

MUSINGS = [
    "**{topic}**: now that is something one can look at from several sides.",
    "I like that you bring up **{topic}**{name}.",
    "Let me think about **{topic}** out loud for a moment.",
    "You say *{said}*, and that makes me curious.",
]

BODIES = [
    block(
        """
        Three things come to mind:

        - what it looks like **from close by**
        - what it looks like **from far away**
        - and what you'd like to be **different** about it
        """
    ),
    (
        "The short answer is: *it depends*. The longer one begins with a question: what would a"
        " good outcome look like to you?"
    ),
    block(
        """
        If I had to start somewhere, I'd take these steps:

        1. write down what you know
        2. cross out what doesn't matter
        3. try the smallest part of the rest
        """
    ),
    (
        "Some would say that it is simple, others that it is a life's work. Both may be right, "
        "on different days of the week."
    ),
    block(
        """
        Here is how I'd put it to a friend:

        > Begin before you're ready, and keep what works.
        """
    ),
]

CLOSINGS = [
    "What is your own hunch?",
    "Shall we go deeper, or would you rather hear a story about it?",
    "Which part matters most to you?",
    "Tell me a little more, and I'll be of more use.",
]
