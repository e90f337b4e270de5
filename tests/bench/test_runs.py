import contextlib
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from tiny_models import random_llama, save_folder

from decodeloop.bench import CONTENDERS, TABLE, Settings, bench, config_of
from decodeloop.bench.busy import core_held
from decodeloop.bench.clock import Clock
from decodeloop.bench.figure import check_file, draw_report
from decodeloop.bench.show import show_report
from decodeloop.bench.workers import Worker, started
from decodeloop.cost import decode_bytes, prefill_flops
from decodeloop.cost.flops import masked_flops
from decodeloop.errors import UserError
from decodeloop.model import SMOLLM2_135M

OWN = tuple(contender for contender in CONTENDERS if contender.own)


class Fake:
    """A contender whose tokens come at times that one knows."""

    def __init__(self, contender, first, gap, fails_at=None):
        self.contender, self.first, self.gap, self.fails_at = contender, first, gap, fails_at
        self.error, self.asked, self.busy = "", [], False

    def run(self, ids, new_tokens):
        self.asked.append((tuple(ids), new_tokens))
        if len(self.asked) == self.fails_at:
            self.error = "RuntimeError: no"
            return {"error": self.error}
        slow = 2 if len(self.asked) == 1 else 1  # the round that is not counted
        slow *= 4 if self.busy else 1
        times = [slow * (self.first + n * self.gap) for n in range(new_tokens)]
        peak, own = 1000 * len(self.asked), 5_000_000 + len(self.asked)
        return {"times": times, "peak": peak, "run_peak": own}


def fakes(*made):
    @contextlib.contextmanager
    def workers(contenders, settings, progress):
        yield made

    return workers


def run(*made, **options):
    settings = Settings(prompt_tokens=10, new_tokens=5, runs=3)
    return bench(
        SMOLLM2_135M, settings, [m.contender for m in made], workers=fakes(*made), **options
    )


def test_medians_rates_and_ratios():
    plain, quick = Fake(OWN[0], 0.5, 0.1), Fake(OWN[1], 0.25, 0.05)
    report = run(plain, quick)
    slow, fast = report.rows
    assert slow.tokens_per_s.median == pytest.approx(10)
    assert fast.tokens_per_s.median == pytest.approx(20)
    assert (slow.ttft_s.least, slow.ttft_s.median, slow.ttft_s.most) == (0.5, 0.5, 0.5)
    assert slow.peak_bytes == 4000  # of the last run
    assert slow.run_bytes == 5_000_003  # the median; the first run is not counted
    moved = decode_bytes(SMOLLM2_135M, 1, 12, weight_bytes_per_number=4, cache_bytes_per_number=4)
    assert slow.bytes_per_s == pytest.approx(moved / 0.1)
    needed = prefill_flops(SMOLLM2_135M, 1, 10) - masked_flops(SMOLLM2_135M, 1, 10)
    assert slow.flops_per_s == pytest.approx(needed / 0.5)
    assert report.ratios()["fp32"]["plain"] == pytest.approx(2)
    assert report.ratios()["plain"]["fp32"] == pytest.approx(0.5)
    json.dumps(report.as_dict())


def test_all_get_the_same_prompt_in_turn_after_a_round_that_does_not_count():
    a, b = Fake(OWN[0], 1, 1), Fake(OWN[1], 1, 1)
    progress = []
    run(a, b, progress=lambda step, fraction: progress.append((step, fraction)))
    assert a.asked == b.asked
    assert len(a.asked) == 4 and a.asked[0][1] == 5 and len(a.asked[0][0]) == 10
    assert progress[-1] == ("run", 1.0)


def test_one_that_fails_is_named_and_the_others_go_on():
    broken, whole = Fake(OWN[0], 1, 1, fails_at=3), Fake(OWN[1], 1, 1)
    report = run(broken, whole)
    assert report.failed == {"plain": "RuntimeError: no"}
    assert len(broken.asked) == 3 and len(whole.asked) == 4
    never = Fake(OWN[0], 1, 1, fails_at=1)
    assert [row.name for row in run(never, Fake(OWN[1], 1, 1)).rows] == ["fp32"]


@contextlib.contextmanager
def beside(*made):
    """Another program, that makes all of them slower."""
    for fake in made:
        fake.busy = True
    try:
        yield
    finally:
        for fake in made:
            fake.busy = False


def test_beside_a_busy_program_each_is_run_again():
    settings = Settings(prompt_tokens=10, new_tokens=5, runs=7, busy=True)
    made = Fake(OWN[0], 0.5, 0.1), Fake(OWN[1], 0.2, 0.05, fails_at=9)
    contenders, progress = [fake.contender for fake in made], []
    report = bench(
        SMOLLM2_135M,
        settings,
        contenders,
        lambda step, fraction: progress.append(fraction),
        workers=fakes(*made),
        busy=lambda: beside(*made),
    )
    assert [len(fake.asked) for fake in made] == [1 + 7 + 3, 9]
    assert not made[0].busy and progress == sorted(progress) and progress[-1] == 1.0
    plain, broken = report.rows
    assert plain.tokens_per_s.median == pytest.approx(10)
    assert plain.busy_tokens_per_s.median == pytest.approx(2.5)
    assert plain.busy_ttft_s.median == pytest.approx(2.0)
    assert plain.busy_share == pytest.approx(0.25)
    assert broken.tokens_per_s.median == pytest.approx(20)
    assert broken.busy_tokens_per_s is None and broken.busy_share is None
    data = json.loads(json.dumps(report.as_dict()))
    assert data["settings"]["busy"] is True
    assert data["paths"][0]["busy_tokens_per_s"]["median"] == pytest.approx(2.5)
    assert data["paths"][0]["busy_share"] == pytest.approx(0.25)
    out = io.StringIO()
    show_report(report, Console(file=out, width=80))
    _, busy = out.getvalue().split("one core held by an endless loop")
    assert "2.5 (2.5–2.5)" in busy and "25%" in busy and "2000 (2000–2000)" in busy
    assert "…" not in out.getvalue()  # it fits into a terminal


def test_without_being_asked_nothing_is_held():
    (row,) = run(Fake(OWN[0], 1, 1), busy=lambda: pytest.fail("held")).rows
    assert row.busy_tokens_per_s is None and row.busy_ttft_s is None


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_endless_loop_ends_with_the_block(error):
    with contextlib.suppress(*([error] if error else [])), core_held() as process:
        assert process.poll() is None
        if error:
            raise error
    assert process.poll() is not None


def test_the_endless_loop_ends_with_whoever_started_it():
    with core_held() as process:
        process.stdin.close()  # as when that process is killed
        assert process.wait(timeout=20) == 0


def test_a_report_is_shown_with_what_differs():
    out = io.StringIO()
    report = replace(run(Fake(OWN[0], 0.5, 0.1), Fake(OWN[2], 0.2, 0.01)), failed={"x": "no"})
    show_report(report, Console(file=out, width=100))
    text = out.getvalue()
    assert "100.0 (100.0–100.0)" in text
    assert "10.00 × plain" in text
    assert "int8 8.06 bits a weight" in text
    assert "a run takes beyond what is held before it: plain 5 · int8 5" in text
    assert "x could not run: no" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_tokens": 0}, "--prompt-tokens is 0: expected at least 1"),
        ({"new_tokens": 1}, "--new-tokens is 1: expected at least 2"),
        ({"runs": 0}, "--runs is 0: expected at least 1"),
        ({"threads": -1}, "--threads is -1: expected at least 0"),
    ],
)
def test_settings_that_measure_nothing_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        Settings(**change)


def test_where_the_system_tells_no_peak_of_a_run_none_is_shown():
    fake = Fake(OWN[0], 0.5, 0.1)
    fake.run, told = lambda ids, n: {**told(ids, n), "run_peak": None}, fake.run
    report = run(fake)
    assert report.rows[0].run_bytes is None
    out = io.StringIO()
    show_report(report, Console(file=out, width=100))
    assert "a run takes" not in out.getvalue()


def test_the_table_of_scores_is_one_of_our_own_and_there_by_asking_alone():
    assert TABLE not in CONTENDERS and TABLE.own
    report = run(Fake(OWN[0], 0.5, 0.1), Fake(TABLE, 1.0, 0.2))
    assert report.ratios()["table"]["plain"] == pytest.approx(0.5)


def test_an_unknown_model_is_refused():
    with pytest.raises(UserError, match="unknown model 'nothing'"):
        config_of("nothing")
    assert config_of("smollm2-135m") == SMOLLM2_135M


def test_a_clock_counts_from_its_start():
    clock = Clock()
    clock.tick()
    clock.tick()
    assert 0 < clock.times[0] <= clock.times[1]


def test_a_path_runs_in_a_process_of_its_own_and_says_what_went_wrong(tmp_path):
    settings = Settings(model="smollm2-135m", prompt_tokens=4, new_tokens=3, runs=1, threads=1)
    (contender,) = (p for p in CONTENDERS if p.name == "int8")
    with started([contender], settings, lambda step, fraction: None) as (worker,):
        assert worker.error == ""
        answer = worker.run([1, 2, 3, 4], 3)
        assert len(answer["times"]) == 3
        assert answer["times"] == sorted(answer["times"])
        assert answer["peak"] is None or answer["peak"] > 100e6
        worker.run([10**6], 3)  # no such token
        assert "outside the vocabulary" in worker.error
    assert worker.process.poll() is not None
    broken = Worker(contender, replace(settings, model=str(tmp_path)))
    assert "has no config.json" in broken.read()["error"]
    broken.close()


def test_each_of_our_own_paths_can_be_had():
    assert [contender.name for contender in OWN] == [
        "plain",
        "fp32",
        "int8",
        "w8a8",
        "int4",
        "int8, int8 cache",
        "int4, int8 cache",
        "int4, int4 cache",
    ]


@pytest.mark.parametrize("contender", [*OWN, TABLE], ids=lambda contender: contender.name)
def test_each_of_our_own_paths_tells_when_each_token_was_there(tmp_path, contender):
    folder = save_folder(tmp_path / "model", random_llama())
    times = contender.load(str(folder), 1)([1, 2, 3, 4], 5)
    assert len(times) == 5 and times[0] > 0
    assert times == sorted(times)


def test_without_numba_the_plain_path_runs_and_the_others_say_why_not(tmp_path, monkeypatch):
    (tmp_path / "numba.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = Settings(prompt_tokens=4, new_tokens=3, runs=1, threads=1)
    with started(OWN[:2], settings, lambda step, fraction: None) as (plain, compiled):
        assert len(plain.run([1, 2, 3, 4], 3)["times"]) == 3
        assert compiled.error.startswith("no compiled decode step: it needs Numba")


def test_a_figure_is_saved(tmp_path):
    report = run(Fake(OWN[0], 0.5, 0.1), Fake(OWN[2], 0.25, 0.01))
    for name in ("a.png", "a.svg"):
        draw_report(report, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_text("utf-8")
    for text in ("plain, 32 bits", "int8, 8.1 bits", "tokens per second", "TTFT, ms"):
        assert f"<!-- {text}" in drawn
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "said"), [("a.txt", "ends in .png"), ("no/a.png", "no folder")])
def test_a_figure_that_can_not_be_saved_is_refused_beforehand(tmp_path, name, said):
    with pytest.raises(UserError, match=said):
        check_file(tmp_path / name)
