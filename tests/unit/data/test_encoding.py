"""Encoding: roles cover the tokens, the completion starts where the prompt's own tokens end, nothing is too long."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from plw.config import TemplateConfig
from plw.config.loss import ROLES
from plw.data.encoding import COMPLETION, PROMPT, encode
from plw.data.inversion import short
from plw.data.records import load_records
from plw.data.template import AlpacaTemplate, Segment, Span
from plw.errors import UserError
from plw.paths import conf_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

text = st.text(alphabet=st.sampled_from("abcde \n:.é中<>"), max_size=30)


def pair(prompt: str, completion: str) -> list[Segment]:
    return [Segment("prompt", prompt), Segment("completion", completion)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(examples=st.lists(st.tuples(text, text), min_size=1, max_size=4), max_length=st.integers(2, 40))
def test_roles_lengths_and_counts(
    tiny_tokenizer: "PreTrainedTokenizerBase", examples: list[tuple[str, str]], max_length: int
) -> None:
    result = encode([pair(*example) for example in examples], tiny_tokenizer, max_length=max_length)
    truncated = without = 0
    for (prompt, completion), encoded in zip(examples, result.examples, strict=True):
        alone = tiny_tokenizer(prompt)["input_ids"]
        whole = tiny_tokenizer(prompt + completion + "</s>")["input_ids"]
        assert encoded.token_T.tolist() == whole[:max_length]
        assert encoded.token_T.dtype == np.int32
        assert encoded.role_T.dtype == np.uint8
        prompts = min(len(alone), len(whole), max_length)
        assert encoded.role_T.tolist() == [PROMPT] * prompts + [COMPLETION] * (len(encoded.token_T) - prompts)
        truncated += len(whole) > max_length
        without += prompts == len(encoded.token_T)
    assert (result.truncated, result.without_completion) == (truncated, without)


def test_prompt_tokens_are_those_of_the_prompt_alone(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    prompt = "### Instruction:\nName three colours.\n\n### Response:"
    (example,) = encode([pair(prompt, "The colours are 3.")], tiny_tokenizer, max_length=512).examples
    assert example.token_T[example.role_T == PROMPT].tolist() == tiny_tokenizer(prompt)["input_ids"]
    assert example.token_T[0] == tiny_tokenizer.bos_token_id
    assert np.count_nonzero(example.token_T == tiny_tokenizer.bos_token_id) == 1
    assert example.token_T[-1] == tiny_tokenizer.eos_token_id


def test_a_token_across_the_border_counts_by_the_prompts_own_length(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    whole = tiny_tokenizer(" the")["input_ids"]
    alone = tiny_tokenizer(" th")["input_ids"]
    assert len(whole) == 2, "the tokenizer joins ' the'"
    assert alone != whole[: len(alone)]
    (example,) = encode([pair(" th", "e")], tiny_tokenizer, max_length=512).examples
    assert np.count_nonzero(example.role_T == PROMPT) == len(alone)


def test_a_prompt_that_fills_the_length_loses_its_completion(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    result = encode([pair("a b c d e f g h", "x"), pair("a", "x")], tiny_tokenizer, max_length=6)
    assert result.examples[0].role_T.tolist() == [PROMPT] * 6
    assert (result.truncated, result.without_completion) == (1, 1)


def test_a_template_that_spells_bos_out_gets_one(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    (example,) = encode([pair("<s>hello", "x")], tiny_tokenizer, max_length=64).examples
    assert example.token_T[:2].tolist() == tiny_tokenizer("hello")["input_ids"][:2]


def test_chat_roles_follow_the_segments(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    segments = [*pair("<|user|>\na\n<|assistant|>\n", "b"), *pair("\n<|user|>\nc\n<|assistant|>\n", "d")]
    (example,) = encode([segments], tiny_tokenizer, max_length=512).examples
    learned = tiny_tokenizer.decode(example.token_T[example.role_T == COMPLETION])
    assert learned == "b</s>d</s>"
    assert np.count_nonzero(np.diff(example.role_T.astype(int))) == 3


def test_eos_only_where_wanted_and_there(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    (example,) = encode([pair("a", "b")], tiny_tokenizer, max_length=8, end_of_sequence=False).examples
    assert example.token_T[-1] != tiny_tokenizer.eos_token_id
    without = type(tiny_tokenizer)(tokenizer_object=tiny_tokenizer.backend_tokenizer)
    with pytest.raises(UserError, match="no EOS token"):
        encode([pair("a", "b")], without, max_length=8)


@pytest.mark.parametrize("end_of_sequence", [False, True])
@pytest.mark.parametrize(("completion", "learned"), [("b<E>", "b</s>"), ("b<E>c", "b</s>c"), ("b", "b")])
def test_a_marker_of_the_data_is_eos(
    tiny_tokenizer: "PreTrainedTokenizerBase", completion: str, learned: str, end_of_sequence: bool
) -> None:
    """One at the end and the template's own are one; a marker in the prompt is text."""
    texts = [pair("a<E>", completion)]
    about: dict[str, Any] = {"max_length": 64, "end_of_sequence": end_of_sequence}
    (example,) = encode(texts, tiny_tokenizer, eos_marker="<E>", **about).examples
    expected = learned if learned.endswith("</s>") or not end_of_sequence else f"{learned}</s>"
    assert tiny_tokenizer.decode(example.token_T[example.role_T == COMPLETION]) == expected
    assert "<E>" in tiny_tokenizer.decode(example.token_T[example.role_T == PROMPT])


def test_a_marker_without_an_eos_token_is_a_mistake(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    without = type(tiny_tokenizer)(tokenizer_object=tiny_tokenizer.backend_tokenizer)
    with pytest.raises(UserError, match=r"template.eos_marker=<E>, but the tokenizer has no EOS token"):
        encode([pair("a", "b<E>")], without, max_length=8, end_of_sequence=False, eos_marker="<E>")


@pytest.mark.parametrize("fine_roles", [False, True])
def test_a_token_has_the_role_and_weight_of_its_last_character(
    tiny_tokenizer: "PreTrainedTokenizerBase", fine_roles: bool
) -> None:
    """The first too, though BOS stands before it; BOS has the weight of the segment. Weights ask for no finer roles."""
    spans = (Span(0, 1, "user", 2.0), Span(1, 4, "user"), Span(4, 5, "system", 3.0))
    segments = [Segment("prompt", "x the", spans=spans, weight=0.5), Segment("completion", "b")]
    about: dict[str, Any] = {"max_length": 64, "fine_roles": fine_roles, "where": ["a.json: row 1"]}
    (example,) = encode([segments], tiny_tokenizer, **about).examples
    assert tiny_tokenizer.convert_ids_to_tokens(example.token_T.tolist()) == ["<s>", "x", "Ġthe", "b", "</s>"]
    prompt = ["bos", "user", "system"] if fine_roles else ["user"] * 3
    assert [ROLES[role] for role in example.role_T] == [*prompt, "assistant", "assistant"]
    assert example.weight_T is not None
    assert example.weight_T.tolist() == [0.5, 1.0, 1.5, 1.0, 1.0]
    assert example.where == "a.json: row 1"


def test_stretches_move_with_the_text_where_a_marker_is_eos(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    spans = (Span(0, 1, "thinking", 2.0), Span(5, 9, "assistant", 3.0))
    segments = [Segment("prompt", "a"), Segment("completion", "b<E>c the<E>", spans=spans)]
    (example,) = encode([segments], tiny_tokenizer, max_length=64, fine_roles=True, eos_marker="<E>").examples
    assert example.weight_T is not None
    pieces = tiny_tokenizer.convert_ids_to_tokens(example.token_T.tolist())
    expected = {"b": 2.0, "c": 1.0, "Ġthe": 3.0}
    assert [piece for piece in pieces if piece in expected] == list(expected)
    assert [expected.get(piece, 1.0) for piece in pieces] == example.weight_T.tolist()
    assert [ROLES[role] for role in example.role_T if role == ROLES.index("thinking")] == ["thinking"]


def test_a_tokenizer_that_tells_no_places_is_refused_only_where_they_are_needed() -> None:
    slow = ByT5Tokenizer()
    (example,) = encode([pair("a", "b")], slow, max_length=8).examples
    assert example.role_T.tolist()[:2] == [PROMPT, COMPLETION]
    weighted = [Segment("prompt", "a"), Segment("completion", "b", weight=0.5)]
    for segments, fine_roles in ((pair("a", "b"), True), (weighted, False)):
        with pytest.raises(UserError, match="need a fast tokenizer"):
            encode([segments], slow, max_length=8, fine_roles=fine_roles)


@pytest.mark.parametrize("inverted", [False, True])
def test_real_data_is_cut_as_stanford_alpaca_cuts_it(
    shared_data: Path, llama_tokenizer: "PreTrainedTokenizerBase", inverted: bool
) -> None:
    """Beside the sentencepiece package: prompt and answer as one text, and the prompt's own length decides."""
    import sentencepiece
    import yaml

    reference = sentencepiece.SentencePieceProcessor(model_file=str(shared_data / "llama_tokenizer.model"))
    template = TemplateConfig(**yaml.safe_load((conf_folder() / "template/alpaca.yaml").read_text(encoding="utf-8")))
    records = load_records(shared_data / "alpaca/alpaca_cleaned_999.json", "alpaca")
    if inverted:
        records = short(records, llama_tokenizer)
    segments = [AlpacaTemplate(template).segments(record) for record in records]
    result = encode(segments, llama_tokenizer, max_length=512)
    truncated = without = joined = 0
    for (prompt, completion), example in zip(segments, result.examples, strict=True):
        alone = [1, *reference.encode(prompt.text)]
        whole = [1, *reference.encode(prompt.text + completion.text), 2]
        assert example.token_T.tolist() == whole[:512]
        prompts = int(np.count_nonzero(example.role_T == PROMPT))
        assert prompts == min(len(alone), len(whole), 512)
        assert not example.role_T[:prompts].any()
        truncated += len(whole) > 512
        without += len(alone) >= min(len(whole), 512)
        joined += alone != whole[: len(alone)]
    assert (result.truncated, result.without_completion) == (truncated, without)
    # Some prompts fill the length once answers are inputs. Where an answer begins with a quotation mark, it joins the
    # prompt's last colon: there the prompt's own length decides, and the sample has such answers.
    assert (without > 50) == inverted
    assert 0 < joined < 100
