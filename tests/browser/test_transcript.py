"""What the page makes of a session's frames, without a server: each test is a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

Frame = dict[str, Any]

FOLLOW = """async ({ before, frames }) => {
  const { Transcript } = await import("/transcript.js");
  const transcript = new Transcript();
  for (const [id, text] of before) transcript.say(id, text, "auto");
  for (const frame of frames) transcript.apply(frame);
  return {
    said: transcript.entries.map(({ kind, text, status }) => [kind, text, status]),
    entries: transcript.entries,
    cursor: transcript.cursor,
    running: transcript.running?.responseId ?? null,
    mayHaveOlder: transcript.mayHaveOlder,
  };
}"""


async def follow(page: Page, *frames: Frame, before: tuple[tuple[str, str], ...] = ()) -> Any:
    return await page.evaluate(FOLLOW, {"before": before, "frames": frames})


def item(item_id: str, role: str, text: str, response_id: str | None = None) -> Frame:
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    made = {"id": item_id, "type": "message", "role": role, "content": [part]}
    return {**made, "response_id": response_id} if response_id else made


def opened(recovered: bool, *snapshot: Frame, seq: int = 0) -> Frame:
    frame = {"type": "session.opened", "epoch": 1, "seq": seq, "recovered": recovered}
    return frame if recovered else {**frame, "snapshot": list(snapshot)}


def accepted(seq: int, turn: str, text: str, client_id: str | None = None) -> Frame:
    asked = [item(f"msg_{turn}", "user", text)]
    frame = {"type": "response.accepted", "epoch": 1, "seq": seq, "response_id": turn}
    return {**frame, "id": client_id, "input": asked}


def created(seq: int, turn: str, agent: str = "gpt") -> Frame:
    response: Frame = {"id": turn, "status": "in_progress", "output": [], "error": None}
    response["troupe"] = {"agent": agent, "rule": "else", "reason": "no rule matched"}
    frame = {"type": "response.created", "epoch": 1, "seq": seq, "response_id": turn}
    return {**frame, "response": response}


def delta(seq: int, turn: str, text: str, epoch: int = 1) -> Frame:
    frame = {"type": "response.output_text.delta", "epoch": epoch, "seq": seq}
    return {**frame, "response_id": turn, "delta": text}


def ended(seq: int, turn: str, text: str, status: str = "completed", **more: Any) -> Frame:
    output = [item(f"ans_{turn}", "assistant", text)] if text else []
    response = {"id": turn, "status": status, "output": output, "error": None, **more}
    frame = {"type": f"response.{status}", "epoch": 1, "seq": seq, "response_id": turn}
    return {**frame, "response": response}


async def test_a_turn_from_here(files: Page) -> None:
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi", "c1"),
        created(2, "r1"),
        delta(3, "r1", "Hel"),
        delta(4, "r1", "lo"),
        ended(5, "r1", "Hello"),
        before=(("c1", "Hi"),),
    )
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "Hello", "completed"]]
    assert seen["entries"][1]["decision"]["agent"] == "gpt"
    assert seen["cursor"] == {"epoch": 1, "seq": 5}
    assert seen["running"] is None


async def test_a_reload_in_mid_answer(files: Page) -> None:
    """The snapshot holds what was said, the running turn's events tell the answer so far."""
    seen = await follow(
        files,
        opened(False, item("msg_r1", "user", "Hi", "r1"), seq=4),
        created(2, "r1"),
        delta(3, "r1", "Hel"),
        delta(4, "r1", "lo"),
    )
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "Hello", "streaming"]]
    assert seen["running"] == "r1"
    assert seen["cursor"] == {"epoch": 1, "seq": 4}
    assert seen["mayHaveOlder"]


async def test_a_snapshot_alone_is_no_place_to_go_on_from(files: Page) -> None:
    """Cut between the snapshot and the turn's events, the page must ask for both again."""
    seen = await follow(files, opened(False, item("msg_r1", "user", "Hi"), seq=40))
    assert seen["cursor"] == {"epoch": 0, "seq": 0}


async def test_what_is_replayed_twice_is_shown_once(files: Page) -> None:
    turn = [accepted(1, "r1", "Hi"), created(2, "r1"), delta(3, "r1", "Hel"), delta(4, "r1", "lo")]
    seen = await follow(files, opened(True), *turn, opened(True), *turn, delta(5, "r1", "!"))
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "Hello!", "streaming"]]


async def test_the_end_corrects_what_was_shown(files: Page) -> None:
    """A host died with words that were shown and never stored: the record is the law."""
    failed = ended(4, "r1", "Hel", "failed", error={"code": "server_error", "message": "Lost."})
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        delta(3, "r1", "Hello"),
        failed,
    )
    assert seen["said"][1] == ["answer", "Hel", "failed"]
    assert seen["entries"][1]["error"]["message"] == "Lost."


def resumed(epoch: int, seq: int, turn: str, position: int) -> Frame:
    frame = {"type": "response.resumed", "epoch": epoch, "seq": seq, "response_id": turn}
    return {**frame, "policy": "continue", "position": position, "reason": "host_lost"}


async def test_an_answer_that_goes_on_elsewhere_is_cut_where_it_is_told(files: Page) -> None:
    """What the lost host said last is on no record; a character is a code point, not two."""
    cut = resumed(2, 4, "r1", 5)
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        delta(3, "r1", "👋 Hel"),
        delta(4, "r1", "p me"),
        delta(5, "r1", " out"),
        cut,
        {**delta(5, "r1", "lo"), "epoch": 2},
        cut,
    )
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "👋 Hello", "streaming"]]
    assert seen["cursor"] == {"epoch": 2, "seq": 5}


async def test_an_answer_begun_anew_elsewhere_is_shown_from_its_start(files: Page) -> None:
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        delta(3, "r1", "Help"),
        resumed(2, 4, "r1", 0),
        {**delta(5, "r1", "Hello"), "epoch": 2},
        {**ended(6, "r1", "Hello"), "epoch": 2},
    )
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "Hello", "completed"]]


@pytest.mark.parametrize(("policy", "anew"), [("continue", False), ("restart", True)])
async def test_where_an_answer_went_on_is_known(files: Page, policy: str, anew: bool) -> None:
    moved = resumed(1, 4, "r1", 0 if anew else 4)
    moved |= {"policy": policy, "from": "gpt/gpt-1", "to": "gpt/gpt-2"}
    begun = [opened(True), accepted(1, "r1", "Hi"), created(2, "r1"), delta(3, "r1", "Help")]
    seen = await follow(files, *begun, moved, delta(5, "r1", "ed"))
    assert seen["entries"][1]["moved"] == {"to": "gpt/gpt-2", "anew": anew}
    assert seen["said"][1] == ["answer", "ed" if anew else "Helped", "streaming"]
    seen = await follow(files, *begun, {**moved, "policy": "stop", "to": None})
    assert seen["entries"][1]["moved"] is None


async def test_a_session_that_is_opened_anew_in_mid_socket_is_shown_as_it_is(files: Page) -> None:
    asked, said = item("msg_r1", "user", "Hi", "r1"), item("ans_r1", "assistant", "Hello", "r1")
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        delta(3, "r1", "Help"),
        {**opened(False, asked, said, seq=9), "epoch": 2},
        {**accepted(10, "r2", "And?"), "epoch": 2},
        {**created(11, "r2"), "epoch": 2},
        {**delta(12, "r2", "Well"), "epoch": 2},
    )
    assert seen["said"] == [
        ["user", "Hi", "sent"],
        ["answer", "Hello", "completed"],
        ["user", "And?", "sent"],
        ["answer", "Well", "streaming"],
    ]
    assert seen["cursor"] == {"epoch": 2, "seq": 12}


async def test_a_lost_cursor_replaces_the_view_but_not_what_is_still_to_be_sent(
    files: Page,
) -> None:
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        delta(3, "r1", "Gone with its host"),
        opened(
            False, item("msg_r1", "user", "Hi", "r1"), item("ans_r1", "assistant", "Hello", "r1")
        ),
        before=(("c9", "Still to be sent"),),
    )
    assert seen["said"] == [
        ["user", "Hi", "sent"],
        ["answer", "Hello", "completed"],
        ["user", "Still to be sent", "sending"],
    ]
    assert seen["cursor"] == {"epoch": 0, "seq": 0}


async def test_a_lost_cursor_keeps_the_history_that_the_snapshot_goes_on_from(files: Page) -> None:
    old = [item(f"m{n}", "user", f"{n}") for n in range(6)]
    said = {"type": "conversation.item.created", "epoch": 1, "seq": 1, "items": old}
    seen = await follow(files, opened(True), said, opened(False, *old[4:], item("m6", "user", "6")))
    assert [text for _, text, _ in seen["said"]] == [str(n) for n in range(7)]


async def test_answers_stand_below_their_questions(files: Page) -> None:
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "One", "c1"),
        created(2, "r1"),
        delta(3, "r1", "First"),
        accepted(4, "r2", "Two", "c2"),
        delta(5, "r1", " answer"),
        accepted(6, "r3", "From elsewhere", "other"),
        ended(7, "r1", "First answer"),
        created(8, "r2"),
        before=(("c1", "One"), ("c2", "Two"), ("c3", "Three")),
    )
    assert seen["said"] == [
        ["user", "One", "sent"],
        ["answer", "First answer", "completed"],
        ["user", "Two", "sent"],
        ["answer", "", "streaming"],
        ["user", "From elsewhere", "sent"],
        ["answer", "", "waiting"],
        ["user", "Three", "sending"],
    ]
    assert seen["running"] == "r2"


async def test_a_turn_that_a_snapshot_holds_already_is_not_doubled(files: Page) -> None:
    """Our message was accepted unseen; the snapshot brings it, and then its own event does."""
    seen = await follow(
        files,
        opened(False, item("msg_r1", "user", "Hi", "r1")),
        accepted(1, "r1", "Hi", "c1"),
        created(2, "r1"),
        ended(3, "r1", "Hello"),
        {
            "type": "conversation.item.created",
            "epoch": 1,
            "seq": 4,
            "items": [item("ans_r1", "assistant", "Hello", "r1")],
        },
        before=(("c1", "Hi"),),
    )
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "Hello", "completed"]]


async def test_an_answer_cut_short_says_why(files: Page) -> None:
    seen = await follow(
        files,
        opened(True),
        created(1, "r1"),
        ended(2, "r1", "Hel", "incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    assert seen["said"] == [["answer", "Hel", "incomplete"]]
    assert seen["entries"][0]["error"]["reason"] == "max_output_tokens"


def anew(seq: int, turn: str, removed: str | None = None) -> Frame:
    """A turn without input is accepted: in place of an answer, or of none."""
    frame = {"type": "response.accepted", "epoch": 1, "seq": seq, "response_id": turn}
    frame |= {"id": None, "input": []}
    return {**frame, "removed": removed} if removed else frame


async def test_an_answer_given_anew_takes_the_place_of_the_one_before(files: Page) -> None:
    turn = [accepted(1, "r1", "Hi"), created(2, "r1"), ended(3, "r1", "Hello")]
    again = [anew(4, "r2", "ans_r1"), created(5, "r2"), delta(6, "r2", "Good")]
    seen = await follow(files, opened(True), *turn, *again, opened(True), *turn[:1], *again)
    assert seen["said"] == [["user", "Hi", "sent"], ["answer", "Good", "streaming"]]
    assert seen["running"] == "r2"


async def test_attempts_that_left_no_message_go_with_the_next(files: Page) -> None:
    seen = await follow(
        files,
        opened(True),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        ended(3, "r1", "Hello"),
        accepted(4, "r2", "And?"),
        created(5, "r2"),
        ended(6, "r2", "", "failed"),
        anew(7, "r3"),
        created(8, "r3"),
        ended(9, "r3", "", "cancelled"),
        anew(10, "r4"),
        before=(("c3", "Still to be sent"),),
    )
    assert seen["said"] == [
        ["user", "Hi", "sent"],
        ["answer", "Hello", "completed"],
        ["user", "And?", "sent"],
        ["answer", "", "waiting"],
        ["user", "Still to be sent", "sending"],
    ]


async def test_what_waits_behind_an_answer_given_anew_stays_behind_it(files: Page) -> None:
    """A reload: the snapshot holds the question that waits, the events tell of what runs."""
    seen = await follow(
        files,
        opened(False, item("msg_r1", "user", "Hi", "r1"), item("msg_r3", "user", "And?", "r3")),
        anew(4, "r2", "ans_r1"),
        created(5, "r2"),
        accepted(6, "r3", "And?"),
        delta(7, "r2", "Good"),
    )
    assert seen["said"] == [
        ["user", "Hi", "sent"],
        ["answer", "Good", "streaming"],
        ["user", "And?", "sent"],
        ["answer", "", "waiting"],
    ]


STANDING = """async (frames) => {
  const { Transcript } = await import("/transcript.js");
  const transcript = new Transcript();
  return frames.map((frame) => {
    transcript.apply(frame);
    return transcript.standing?.text ?? null;
  });
}"""


async def test_only_the_last_message_can_be_answered_and_only_while_nothing_runs(
    files: Page,
) -> None:
    frames = [
        opened(False, item("m0", "user", "Hm")),
        accepted(1, "r1", "Hi"),
        created(2, "r1"),
        delta(3, "r1", "Hel"),
        ended(4, "r1", "Hello"),
        anew(5, "r2", "ans_r1"),
        ended(6, "r2", "", "failed"),
    ]
    standing = await files.evaluate(STANDING, frames)
    assert standing == ["Hm", None, None, None, "Hello", None, ""]
    unsent = await files.evaluate(
        """async (frame) => {
          const { Transcript } = await import("/transcript.js");
          const transcript = new Transcript();
          transcript.apply(frame);
          const found = [transcript.standing?.text];
          transcript.say("c1", "Mine", "auto");
          found.push(transcript.standing);
          transcript.refuse("c1", { code: "busy" });
          found.push(transcript.standing?.text);
          transcript.asking = "c2";
          return [...found, transcript.standing];
        }""",
        frames[0],
    )
    assert unsent == ["Hm", None, "Hm", None]


async def test_an_answer_that_was_removed_is_not_learned_back(files: Page) -> None:
    """Its record still says what it said; what stands below the question is another's."""
    learned = await files.evaluate(
        """async ([frame, gone]) => {
          const { Transcript } = await import("/transcript.js");
          const transcript = new Transcript();
          transcript.apply(frame);
          transcript.learn(gone);
          transcript.learn({ ...gone, id: "r3" });
          transcript.learn({ ...gone, id: "r1", output: [], status: "failed" });
          const answered = transcript.entries.map((one) => transcript.hasAnswer(one));
          return [transcript.entries.map((one) => [one.text, one.status]), answered];
        }""",
        [
            opened(
                False,
                item("m1", "user", "Hi", "r1"),
                item("m2", "user", "Ho", "r1"),
                item("a2", "assistant", "Good", "r2"),
                item("m3", "user", "And?", "r3"),
            ),
            {"id": "r1", "status": "completed", "output": [item("a1", "assistant", "Hello")]},
        ],
    )
    assert learned == [
        [["Hi", "sent"], ["Ho", "sent"], ["Good", "completed"], ["And?", "unanswered"]],
        [True, True, False, False],
    ]


async def test_what_became_of_a_past_turn_can_be_learned(files: Page) -> None:
    learned = await files.evaluate(
        """async ([frame, running, failed]) => {
          const { Transcript } = await import("/transcript.js");
          const transcript = new Transcript();
          transcript.apply(frame);
          transcript.learn(failed);
          transcript.learn(running);
          transcript.learn({ ...failed, id: "r2", status: "in_progress" });
          return transcript.entries.map((one) => [one.kind, one.status, one.decision?.agent]);
        }""",
        [
            opened(False, item("m1", "user", "Hi", "r1"), item("m2", "user", "Ho", "r2")),
            {**created(1, "r2")["response"]},
            {"id": "r1", "status": "failed", "output": [], "troupe": {"agent": "gpt"}},
        ],
    )
    assert learned == [
        ["user", "sent", None],
        ["answer", "failed", "gpt"],
        ["user", "sent", None],
        ["answer", "waiting", "gpt"],
    ]
