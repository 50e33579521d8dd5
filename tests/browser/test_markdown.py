"""The page's own Markdown: what it makes of a text, at once and while the text is arriving."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

RENDER = """async ([texts, chunks]) => {
  const { MarkdownView } = await import("/render.js");
  return texts.map((text, index) => {
    const root = document.createElement("div");
    const view = new MarkdownView(root);
    let shown = 0;
    for (const size of chunks[index] ?? []) {
      shown += size;
      view.update(text.slice(0, shown), false);
    }
    view.update(text, true);
    return root.innerHTML;
  });
}"""

LINK = 'target="_blank" rel="noopener noreferrer nofollow"'


async def rendered(page: Page, *texts: str, chunks: list[list[int]] | None = None) -> list[str]:
    return await page.evaluate(RENDER, [texts, chunks or []])


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        ("# Title\n## Less ##\n####### no", "<h3>Title</h3><h4>Less</h4><p>####### no</p>"),
        ("**a *b* c** _d_ ~~e~~", "<p><strong>a <em>b</em> c</strong> <em>d</em> <s>e</s></p>"),
        (
            "***both*** **b***i*",
            "<p><em><strong>both</strong></em> <strong>b</strong><em>i</em></p>",
        ),
        ("snake_case_name 2 * 3 * 4", "<p>snake_case_name 2 * 3 * 4</p>"),
        ("`a < b` ``x ` y`` `open", "<p><code>a &lt; b</code> <code>x ` y</code> `open</p>"),
        (r"\*plain\* \a", r"<p>*plain* \a</p>"),
        ("- a\n- b\n  - c\n\ntext", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>text</p>"),
        ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("1. a\n\n   b\n2. c", "<ol><li><p>a</p><p>b</p></li><li><p>c</p></li></ol>"),
        ("In\n1986. Then", "<p>In<br>1986. Then</p>"),
        ("> a\n> - b\n\nc", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote><p>c</p>"),
        ("a\n\n---\nb", "<p>a</p><hr><p>b</p>"),
        (
            "- [x] done\n- [ ] open",
            '<ul><li class="has-task"><span class="task">☑ </span>done</li>'
            '<li class="has-task"><span class="task">☐ </span>open</li></ul>',
        ),
        (
            "[a *b*](https://x.test/p?q=1&r=2 'T') <https://y.test>",
            f'<p><a href="https://x.test/p?q=1&amp;r=2" {LINK}>a <em>b</em></a> '
            f'<a href="https://y.test/" {LINK}>https://y.test</a></p>',
        ),
        (
            "See https://x.test/a_(b), (https://y.test/z).",
            f'<p>See <a href="https://x.test/a_(b)" {LINK}>https://x.test/a_(b)</a>, '
            f'(<a href="https://y.test/z" {LINK}>https://y.test/z</a>).</p>',
        ),
        (
            "![alt](https://x.test/i.png)",
            f'<p><a href="https://x.test/i.png" {LINK}>alt</a></p>',
        ),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
        ("[a](data:text/html,x) [b](/c)", "<p>[a](data:text/html,x) [b](/c)</p>"),
        ("<b>x</b> &lt;", "<p>&lt;b&gt;x&lt;/b&gt; &amp;lt;</p>"),
        ("", ""),
    ],
)
async def test_markdown(files: Page, text: str, markup: str) -> None:
    assert await rendered(files, text) == [markup]


async def test_a_table_keeps_its_columns(files: Page) -> None:
    [markup] = await rendered(files, "| a | b |\n| :-: | --: |\n| `x|y` | 1 \\| 2 |\n| only |\nend")
    assert (
        '<th scope="col" class="to-center">a</th><th scope="col" class="to-right">b</th>' in markup
    )
    assert '<td class="to-center"><code>x|y</code></td><td class="to-right">1 | 2</td>' in markup
    assert '<td class="to-center">only</td><td class="to-right"></td>' in markup


async def test_code_is_kept_to_the_letter(files: Page) -> None:
    code = "if a < b:\n\tprint('```')\n\n    # *no*  "
    text = f"````py extra\n{code}\n````\nafter"
    shown = await files.evaluate(
        """async (text) => {
          const { MarkdownView } = await import("/render.js");
          const root = document.createElement("div");
          new MarkdownView(root).update(text, true);
          return [root.querySelector("code").textContent, root.querySelector("span").textContent,
                  root.lastElementChild.outerHTML];
        }""",
        text,
    )
    # A tab at the beginning of a line is spaces by now; nothing else may change.
    assert shown == [code.replace("\t", "    "), "py", "<p>after</p>"]


PIECES = (
    "word",
    " ",
    "\n",
    "\n\n",
    "**",
    "*",
    "_",
    "`",
    "~~",
    "- ",
    "  - ",
    "1. ",
    "2) ",
    "# ",
    "#",
    "> ",
    "```\n",
    "```py\n",
    "~~~\n",
    "| a | b |\n",
    "|---|---|\n",
    "---\n",
    "[x](https://a.test)",
    "https://b.test",
    "    ",
    "\t",
    "[ ] ",
    "\\",
    "<i>",
    "é🎭",
)


async def test_what_arrives_in_pieces_ends_as_what_came_at_once(files: Page) -> None:
    chance = random.Random(2)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(1, 40))) for _ in range(400)]
    texts.append(Path(__file__).with_name("sample.md").read_text())
    chunks: list[list[int]] = []
    for text in texts:
        sizes = [1] * len(text) if len(text) < 80 else chance.choices(range(1, 9), k=len(text))
        chunks.append(sizes)
    whole = await rendered(files, *texts)
    streamed = await rendered(files, *texts, chunks=chunks)
    for text, at_once, in_pieces in zip(texts, whole, streamed, strict=True):
        assert in_pieces == at_once, text


async def test_no_word_is_lost(files: Page) -> None:
    """Whatever the marks around them, letters and digits come out as they went in."""
    chance = random.Random(3)
    pieces = [*PIECES, *(f"w{n}" for n in range(30))]
    texts = ["".join(chance.choices(pieces, k=30)) for _ in range(300)]
    found = await files.evaluate(
        """async (texts) => {
          const { MarkdownView } = await import("/render.js");
          return texts.map((text) => {
            const root = document.createElement("div");
            new MarkdownView(root).update(text, true);
            for (const head of root.querySelectorAll(".code-head")) head.remove();
            return root.textContent;
          });
        }""",
        texts,
    )
    for text, shown in zip(texts, found, strict=True):
        missing = [f"w{n}" for n in range(30) if text.count(f"w{n}") > shown.count(f"w{n}")]
        # What follows a fence on its own line names the language, which is shown in its head.
        assert [word for word in missing if not _names_a_language(text, word)] == [], text


def _names_a_language(text: str, word: str) -> bool:
    return any(
        word in line
        for line in text.splitlines()
        if line.lstrip(" \t>-#1234567890.)[]*_\\`~").startswith(word)
        or "```" in line
        or "~~~" in line
    )


async def test_what_is_settled_is_not_touched_again(files: Page) -> None:
    same = await files.evaluate(
        """async () => {
          const { MarkdownView } = await import("/render.js");
          const root = document.createElement("div");
          const settled = [];
          const view = new MarkdownView(root, (node) => settled.push(node.textContent));
          view.update("first\\n\\nsec", false);
          const [first] = root.children;
          const word = root.children[1].firstChild;
          view.update("first\\n\\nsecond **bo", false);
          const strong = root.querySelector("strong");
          view.update("first\\n\\nsecond **bold** end", true);
          return [root.children[0] === first, root.children[1].firstChild === word,
                  root.querySelector("strong") === strong, settled];
        }"""
    )
    assert same == [True, True, True, ["first", "second bold end"]]


async def test_a_shorter_text_in_place_of_a_longer_one_is_shown_alone(files: Page) -> None:
    shown = await files.evaluate(
        """async () => {
          const { MarkdownView } = await import("/render.js");
          const root = document.createElement("div");
          const view = new MarkdownView(root);
          view.update("one\\n\\ntwo\\n\\nthree", false);
          view.update("one\\n\\ntwo", true);
          return root.innerHTML;
        }"""
    )
    assert shown == "<p>one</p><p>two</p>"


@pytest.mark.parametrize(
    "text",
    ["*a" * 50_000, "a* " * 33_333, "[" * 99_999, "[a](" * 25_000, "# " + " " * 99_999 + "x"],
    ids=["stars", "closers", "brackets", "links", "spaces"],
)
async def test_a_text_cannot_hang_the_page(files: Page, text: str) -> None:
    """Each took the square of its length, minutes, where nothing bounds the pairing."""
    [markup] = await rendered(files, text)
    for char in "a[x":
        assert markup.count(char) >= text.count(char)


async def test_deep_nesting_ends_somewhere(files: Page) -> None:
    deep = "> " * 5000 + "x\n" + "  " * 300 + "- y\n" + "[" * 3000 + "](" + "*a" * 3000
    [markup] = await rendered(files, deep)
    assert markup.count("<blockquote>") < 20
