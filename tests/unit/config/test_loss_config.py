"""The loss's own fields: a factor is a group inside a group, and what it does not read is refused."""

from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from plw.commands.choice import chosen_cell
from plw.config import FactorConfig, LossConfig, RolesConfig, identity_fields
from plw.config.compose import register_schema, typed
from plw.errors import UserError
from plw.paths import conf_folder

CHOICES = {path.stem: path for path in sorted((conf_folder() / "loss" / "factor").glob("*.yaml"))}


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()


def test_every_factor_has_words_of_its_own_and_composes_by_the_fields_name() -> None:
    words = {name: chosen_cell([f"loss.factor={name}"]).loss.label for name in CHOICES}
    assert words["none"] == ""
    assert words["dft"] == "dft"
    assert words["profit"] == "threshold-0.1-1"
    assert words["eaft"] == "entropy-1-20-3"
    assert len(set(words.values())) == len(CHOICES)


def test_a_factors_number_can_be_set_beside_it() -> None:
    factor = chosen_cell(["loss.factor=power", "loss.factor.exponent=2"]).loss.factor
    assert factor == FactorConfig(kind="power", exponent=2)
    assert factor.label == "power-2"


def test_a_sweep_takes_the_group_by_the_fields_name() -> None:
    words = register_schema(["loss.factor=none,dft", "loss.prompt_weight=0,0.1"], sweep=True)
    assert words == ["loss/factor=none,dft", "loss.prompt_weight=0,0.1"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert typed(compose("config", overrides=["loss/factor=dft"])).loss.factor.kind == "power"


def test_without_a_factor_the_identity_is_that_of_before() -> None:
    before = {"prompt_weight", "response_weight", "normalizer", "scope", "virtual_micro_batch"}
    assert identity_fields(LossConfig()).keys() == before
    assert identity_fields(LossConfig(factor=FactorConfig(kind="power"))).keys() == before | {"factor"}
    assert identity_fields(LossConfig(roles=RolesConfig(user=0.5)))["roles"] == {"user": 0.5}


def test_the_schemes_of_the_literature_have_words_of_their_own() -> None:
    schemes = ("nonzero-batch", "weights-batch", "instruction-modelling", "prompt-only", "prompt-share")
    losses = {name: chosen_cell([f"loss={name}"]).loss for name in schemes}
    assert losses["instruction-modelling"].label == "template=0"
    assert losses["prompt-share"].label == "share=0.05"
    told = {(loss.prompt_weight, loss.response_weight, loss.normalizer, loss.label) for loss in losses.values()}
    assert len(told) == len(schemes)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["loss.factor=none", "loss.factor.exponent=2"], "loss.factor.exponent"),
        (["loss.factor=dft", "loss.factor.low=0.5"], "loss.factor.low"),
        (["loss.factor=threshold", "loss.factor.low=0.95"], "loss.factor.high"),
        (["loss.factor=focal", "loss.factor.exponent=0"], "loss.factor.exponent"),
        (["loss.factor=eaft", "loss.factor.top=1"], "loss.factor.top"),
        (["loss.factor=dtf"], "allowed: dft, eaft"),
        (["loss.factor.kind=dft"], "focal"),
        (["loss.prompt_weight='0,5'"], "loss.prompt_weight"),
        (["loss.roles.user='0,5'"], "loss.roles.user"),
        (["loss.roles.usr=0.5"], "allowed: user, assistant"),
        (["loss.roles.user=-0.5"], "loss.allow_negative=true"),
        (["loss.roles.assistant=0"], "leaves no loss"),
        (["loss=weights-batch", "loss.allow_negative=true"], "another normalizer"),
        (["loss=prompt-share", "loss.prompt_weight=0"], "loss.prompt_weight=1"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], named: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen_cell(words)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
