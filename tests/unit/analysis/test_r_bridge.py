"""The way to R and back: what goes wrong there is one line."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import r_bridge
from analysis.r_bridge import r_has, run_r
from plw.errors import UserError

pytestmark = pytest.mark.skipif(not r_has("jsonlite"), reason="R with jsonlite is not installed")


def test_an_r_that_gives_no_answer_in_time_is_told_without_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "slow.R"
    script.write_text("Sys.sleep(60)\n")
    monkeypatch.setattr(r_bridge, "R_TIMEOUT_S", 0.5)
    with pytest.raises(UserError, match=r"^R gave no answer within 0\.5 s") as told:
        run_r(script, [pd.DataFrame({"a": [1.0]})])
    assert str(tmp_path) not in str(told.value)


def test_rs_last_words_are_the_line(tmp_path: Path) -> None:
    script = tmp_path / "failing.R"
    script.write_text('stop("the model has no rows")\n')
    with pytest.raises(UserError, match=r"^R failed: "):
        run_r(script, [pd.DataFrame({"a": [1.0]})])
