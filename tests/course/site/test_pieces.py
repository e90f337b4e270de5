"""The two pieces that answer to a touch: without a script, and what a script is given."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest

from decodeloop.course.building import project_root
from decodeloop.course.site import attention, timeline
from decodeloop.errors import UserError

DATA = json.loads((project_root() / "tools" / "site" / "attention.json").read_text("utf-8"))


def parsed(figure):
    """The figure as a tree, which it must be: HTML that is also XML."""
    return ET.fromstring(
        re.sub(
            r"<(input[^>]*)>", r"<\1/>", figure.replace(" hidden>", ">").replace(" checked>", ">")
        )
    )


def inline(figure):
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*)</script>', figure)[1])


def test_the_weights_of_every_head_are_shares():
    size = len(DATA["tokens"])
    assert (len(DATA["weights"]), len(DATA["weights"][0])) == (30, 9)
    for layer in DATA["weights"]:
        for head in layer:
            for row in attention.triangle(head, size):
                assert abs(sum(row) - 100) <= len(row) / 2  # each is rounded
                assert min(row) >= 0


def test_the_head_that_is_shown_first_looks_at_the_tower():
    rows = attention.triangle(DATA["weights"][DATA["layer"]][DATA["head"]], len(DATA["tokens"]))
    name = [at for at, token in enumerate(DATA["tokens"]) if token in ("␣E", "iffel", "␣Tower")]
    assert len(name) == 3
    assert sum(rows[-1][at] for at in name) > 50


def test_the_table_says_the_weights_of_its_head():
    figure = attention.figure(DATA)
    rows = parsed(figure).findall(".//tbody/tr")
    expected = attention.triangle(DATA["weights"][DATA["layer"]][DATA["head"]], len(rows))
    for row, weights in zip(rows, expected, strict=True):
        assert [int(cell.text) for cell in row.findall("td") if cell.text] == weights
        assert row.find("th").get("scope") == "row"
    assert inline(figure)["weights"] == DATA["weights"]


def test_markdown_takes_a_piece_as_one_block():
    for figure in (attention.figure(DATA), timeline.figure()):
        assert figure.startswith("<figure")
        assert "\n\n" not in figure


def test_a_token_can_not_end_the_script():
    data = {**DATA, "tokens": ["</script><b>"], "weights": [[[100]]], "layer": 0, "head": 0}
    figure = attention.figure(data)
    assert figure.count("</script>") == 1
    assert "<b>" not in figure
    assert inline(figure)["tokens"] == ["</script><b>"]


def test_a_map_of_another_size_is_refused():
    with pytest.raises(UserError, match="3 tokens has 5 weights: expected 6"):
        attention.triangle([1] * 5, 3)


def test_the_steps_are_those_of_the_scheduler():
    for run, told in zip(timeline.results().values(), inline(timeline.figure()), strict=True):
        assert len(told) == len(run.moments)
        read = sum(count for step in told for _, count in step["reads"])
        assert read == sum(piece.count for moment in run.moments for piece in moment.plan.pieces)
        assert sum(len(step["back"]) for step in told) == run.preemptions
        for step in told:
            assert not {who for who, _ in step["reads"]} & set(step["waits"])


def test_the_settings_show_what_they_are_there_to_show():
    wide, narrow, poor = timeline.results().values()
    assert max(narrow.itl) < max(wide.itl) / 2  # nobody stops for the page
    page = max(range(len(timeline.ASKED)), key=lambda who: timeline.ASKED[who][1])
    assert narrow.ttft[page] > wide.ttft[page]  # which pays for it
    assert wide.preemptions == narrow.preemptions == 0 < poor.preemptions


def test_each_drawing_says_in_words_what_it_shows():
    drawings = re.findall(r"<svg [^>]*>", timeline.figure())
    assert len(drawings) == len(timeline.SETTINGS)
    for drawing, title in zip(drawings, timeline.SETTINGS, strict=True):
        assert 'role="img"' in drawing
        assert f"Timeline of 8 requests, {title}: the longest pause" in drawing


def test_the_crosses_are_the_preemptions():
    runs = timeline.results()
    for at, (title, run) in enumerate(runs.items()):
        drawn = timeline.drawing(run, run.seconds, title, at)
        assert drawn.count("l10 10m0 -10l-10 10") == run.preemptions


def test_no_two_drawings_have_an_id_in_common():
    ids = re.findall(r'\bid="([^"]+)"', timeline.figure())
    assert len(ids) == len(set(ids)) == len(timeline.SETTINGS)
