"""The PandaLM protocol: parsing, the rule for two orders, the prompt, and agreement with stored human labels."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.config.judge import JudgeConfig
from plw.errors import StageError, UnreadableError, UserError
from plw.evaluate.judging.pairwise import Pair, win_rate
from plw.evaluate.judging.pandalm import (
    TIE,
    PandaPrompt,
    combine_orders,
    judge_both_orders,
    judge_pandalm,
    parse,
    verdict,
)
from plw.progress import Progress
from plw.world.server import JudgeServer

PROMPTS = Path(__file__).parents[4] / "conf" / "judge_prompts" / "pandalm"
FLIP = {1: 2, 2: 1, TIE: TIE, None: None}
label = st.sampled_from([1, 2, TIE])
reading = st.sampled_from([1, 2, TIE, None])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("1", 1),
        ("2\n\n### Reason: shorter", 2),
        ("tie", TIE),
        ("Tie\n", TIE),
        ("\n 1 \nmore", 1),
        ("", None),
        ("Response 1", None),
        ("12", None),
        ("1.", None),
        ("reason\n1", None),
        ("0", None),
    ],
)
def test_only_the_first_line_counts(reply: str, expected: int | None) -> None:
    assert parse(reply) == expected


@given(st.text())
def test_parse_never_raises(reply: str) -> None:
    assert parse(reply) in (1, 2, TIE, None)


@given(first=label, swapped=label)
def test_exchanging_the_answers_mirrors_the_result_unless_one_order_alone_is_a_tie(first: int, swapped: int) -> None:
    mine, conflict = combine_orders(first, swapped)
    theirs, their_conflict = combine_orders(swapped, first)

    assert conflict == their_conflict == (first == swapped != TIE)
    if (first == TIE) == (swapped == TIE):
        assert theirs == FLIP[mine]
    else:
        assert (mine, theirs) == (first, swapped)


@given(first=reading, swapped=reading)
def test_the_papers_conflict_rule(first: int | None, swapped: int | None) -> None:
    result, conflict = combine_orders(first, swapped)

    if first is None or swapped is None:
        assert (result, conflict) == (None, False)
    elif first == swapped:
        assert result == TIE
    else:
        assert result == first


@given(st.lists(st.tuples(st.sampled_from("12tx"), st.sampled_from("12tx")), min_size=1, max_size=40))
def test_win_rate_counts(pairs: list[tuple[str, str]]) -> None:
    words = {"1": "1", "2": "2", "t": "tie", "x": "?"}
    judge = JudgeConfig(name="j", max_unparsed=1.0)
    verdicts = [verdict(words[first], words[second]) for first, second in pairs]
    readable = [pair for pair in pairs if "x" not in pair]
    if not readable:
        with pytest.raises(StageError, match="cannot be read"):
            win_rate(verdicts, judge, both_orders=True)
        return

    result = win_rate(verdicts, judge, both_orders=True)

    assert (result.n, result.unparsed, result.n_total) == (len(readable), len(pairs) - len(readable), len(pairs))
    assert result.wins + result.draws + result.losses == result.n
    assert result.win_rate == pytest.approx(100 * (result.wins + result.draws / 2) / result.n)
    assert result.conflicts == sum(pair in (("1", "1"), ("2", "2")) for pair in pairs)
    if not result.unparsed and not any("t" in pair for pair in pairs):
        mirrored = win_rate([verdict(words[b], words[a]) for a, b in pairs], judge, both_orders=True)
        assert mirrored.win_rate == pytest.approx(100 - result.win_rate)
        assert mirrored.stderr == pytest.approx(result.stderr)


def test_stored_verdicts_agree_with_people_as_published(shared_data: Path) -> None:
    """PandaLM-7B against the majority of three people on its test set: 66.77% of 999 pairs."""
    people = json.loads((shared_data / "judges" / "pandalm_testset_v1.json").read_text())
    stored = json.loads((shared_data / "judges" / "pandalm_7b_testset_v1.json").read_text())
    words = {0: "tie", 1: "1", 2: "2"}

    labels = [parse(f"{words[row['pandalm_result']]}\n\n### Reason: {row['pandalm_reason']}") for row in stored]
    # A majority of three labels; where all differ, the first person's.
    majority = [Counter(row[f"annotator{number}"] for number in (1, 2, 3)).most_common(1)[0][0] for row in people]

    assert [row["idx"] for row in people] == [row["idx"] for row in stored]
    assert len(labels) == 999
    assert round(100 * sum(a == b for a, b in zip(labels, majority, strict=True)) / 999, 2) == 66.77


def test_prompt_is_the_one_pandalm_was_trained_on() -> None:
    pair = Pair(instruction="Add.", input="1 2", answer=" three ", reference="four")

    text = PandaPrompt.load(PROMPTS).build(pair, swapped=False)

    assert text.endswith(
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response 1:\nthree\n\n"
        "### Response 2:\nfour\n\n### Evaluation:\n"
    )
    swapped = PandaPrompt.load(PROMPTS).build(pair, swapped=True)
    assert "### Response 1:\nfour\n\n### Response 2:\nthree\n\n" in swapped
    bare = PandaPrompt.load(PROMPTS).build(Pair(instruction="Add.", answer="a", reference="b"), swapped=False)
    assert "### Input:" not in bare


def test_prompt_keeps_answers_that_look_like_prompts_in_their_place() -> None:
    pair = Pair(instruction="Add {response_1}.", answer="{response_2}", reference="x\n### Response 2:\ny {instruction}")

    text = PandaPrompt.load(PROMPTS).build(pair, swapped=False)

    assert text.count("\n### Response 1:\n") == text.count("\n### Response 2:\n") == 1
    assert "{ response_2}" in text.split("### Response 2:")[0]


def test_replies_keep_their_order_under_concurrency(judge: JudgeConfig) -> None:
    """The judge prefers the response with the larger number, so each pair's verdict is known."""
    pairs = [Pair(instruction=f"Pair {n}", answer=str(n), reference=str(20 - n)) for n in range(41)]

    def larger(prompt: str) -> str:
        sections = prompt.split("### Response ")
        first, second = (int(section.split(":\n", 1)[1].split("\n", 1)[0]) for section in sections[1:])
        return "1" if first > second else "2" if second > first else "tie"

    with JudgeServer(larger) as server:
        result = judge_pandalm(pairs, judge, server.base_url, prompts=PROMPTS)

    assert [v.points for v in result.verdicts] == [0.0] * 10 + [0.5] + [1.0] * 30
    assert (result.wins, result.draws, result.losses, result.conflicts, result.unparsed) == (30, 1, 10, 0, 0)
    assert result.win_rate == pytest.approx(100 * 30.5 / 41)


def test_a_judge_that_prefers_a_position_only_makes_conflicts(judge: JudgeConfig) -> None:
    pairs = [Pair(instruction=f"Pair {n}", answer="a", reference="b") for n in range(5)]

    with JudgeServer(lambda prompt: "2\n\n### Reason: it comes last") as server:
        result = judge_pandalm(pairs, judge, server.base_url, prompts=PROMPTS)

    assert (result.win_rate, result.conflicts, result.draws) == (50.0, 5, 5)
    scores = {score.metric: score for score in result.scores("s", "pandalm", judge)}
    assert scores["conflicts"].value == 5
    assert [name for name, score in scores.items() if score.headline] == ["win_rate"]
    assert [name for name, score in scores.items() if score.higher_is_better] == ["win_rate"]
    assert {(score.judge, score.judge_version) for score in scores.values()} == {("test", "1")}


@pytest.mark.parametrize("counted", [False, True])
def test_prompts_that_lost_their_beginning_are_a_score_where_they_are_counted(
    judge: JudgeConfig, counted: bool
) -> None:
    pairs = [Pair(instruction=f"Pair {n}", answer="a", reference="b") for n in range(3)]

    def answers(texts: Sequence[str], progress: Progress) -> list[str]:
        return ["1" if "### Response 1:\na" in text else "2" for text in texts]

    result = judge_both_orders(
        pairs, judge, answers, prompts=PROMPTS, library_version="x", cut=len if counted else None
    )

    scores = {score.metric: score for score in result.scores("s", "pandalm", judge)}
    assert (scores["win_rate"].value, scores["win_rate"].n, scores["wins"].value) == (100.0, 3, 3)
    assert [score.value for name, score in scores.items() if name == "cut"] == ([6] if counted else [])


def test_without_pairs_there_is_no_win_rate(judge: JudgeConfig) -> None:
    with pytest.raises(StageError, match="judge test: no pairs to judge"):
        win_rate([], judge, both_orders=False)


def test_a_long_unreadable_reply_is_told_in_short(judge: JudgeConfig) -> None:
    long = "I cannot " * 100
    for said in (verdict("1", long), verdict(long, "1")):
        with pytest.raises(
            UnreadableError, match=r"one of the replies: '(I cannot )+(I )?\.\.\. .*I cannot '$"
        ) as caught:
            win_rate([said], judge, both_orders=True)
        assert len(str(caught.value)) < 240
        assert caught.value.replies == {long}, "the other can be read"


def test_garbage_is_a_failed_stage(judge: JudgeConfig) -> None:
    pairs = [Pair(instruction="Pair", answer="a", reference="b")] * 3

    with JudgeServer(lambda prompt: "As a language model\nI cannot") as server, pytest.raises(StageError) as caught:
        judge_pandalm(pairs, judge, server.base_url, prompts=PROMPTS)

    assert "judge test: 3 of 3 verdicts cannot be read (100.0%, allowed 5.0%)" in str(caught.value)
    assert "As a language model" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_listens_can_stop_the_judging(judge: JudgeConfig) -> None:
    asked: list[str] = []

    def note(prompt: str) -> str:
        asked.append(prompt)
        return "1"

    def stop(done: int, total: int, note: str = "") -> None:
        raise InterruptedError

    pairs = [Pair(instruction=f"Pair {n}", answer="a", reference="b") for n in range(100)]
    with JudgeServer(note) as server, pytest.raises(InterruptedError):
        judge_pandalm(pairs, judge, server.base_url, prompts=PROMPTS, progress=stop)

    assert len(asked) < 50


def test_a_judge_that_is_not_there_is_a_failed_stage(judge: JudgeConfig) -> None:
    with JudgeServer(lambda prompt: "1") as server:
        address = server.base_url
    pairs = [Pair(instruction="Pair", answer="a", reference="b")]

    with pytest.raises(StageError, match=r"judge test at http://127.0.0.1:.* cannot be reached"):
        judge_pandalm(pairs, judge, address, prompts=PROMPTS)


def test_missing_prompts_are_told(judge: JudgeConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"with_input\.txt: no such file"):
        judge_pandalm([], judge, "http://127.0.0.1:9/v1", prompts=tmp_path)
