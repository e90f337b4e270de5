"""Whatever a stranger once wrote is judged as it was judged when somebody read it."""

import pytest
from attacks.strangers import HERE, read, verdict_on

ANSWERS = [answer for path in sorted(HERE.glob("*.txt")) for answer in read(path)]


@pytest.mark.parametrize("answer", ANSWERS, ids=[f"{a.name}-{a.where}" for a in ANSWERS])
def test_a_stranger_is_judged_rightly(answer):
    verdict = verdict_on(answer)
    assert verdict.state == ("right" if answer.right else "wrong"), verdict.what
    if answer.mistake is not None:
        assert verdict.mistake is not None, "no hint speaks"
        assert verdict.mistake.name == answer.mistake
