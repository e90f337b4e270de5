"""Several texts at once: what is asked of whom, what comes of it, and the peers' library."""

import contextlib
import ctypes
import hashlib
import io
import json
import tarfile

import pytest
import torch
from rich.console import Console

from decodeloop.bench import CONTENDERS, BatchSettings, bench_batches, llama_cpp, prebuilt
from decodeloop.bench.batch_of_ours import several
from decodeloop.bench.clock import Clock
from decodeloop.bench.figure import draw_batches
from decodeloop.bench.show import show_batches
from decodeloop.cost import decode_bytes, decode_flops
from decodeloop.decode import generate
from decodeloop.errors import UserError
from decodeloop.kernels import fast, tiny_decoder
from decodeloop.model import SMOLLM2_135M

PLAIN, FP32 = (c for c in CONTENDERS if c.name in ("plain", "fp32"))
OPENVINO = next(c for c in CONTENDERS if c.name == "openvino")


class Fake:
    """A contender whose steps take as long as one knows; its first round is slow."""

    def __init__(self, contender, step, fails_at=None):
        self.contender, self.step, self.fails_at = contender, step, fails_at
        self.error, self.asked = "", []

    def run(self, ids, new_tokens, batch, afresh):
        assert afresh
        self.asked.append((len(ids), new_tokens, batch))
        if len(self.asked) == self.fails_at:
            self.error = "RuntimeError: no"
            return {"error": self.error}
        slow = 9 if len(self.asked) <= 4 else 1
        copying = 100.0
        times = [0.5, 0.5 + copying]
        times += [times[-1] + slow * batch * self.step * n for n in range(1, new_tokens - 1)]
        return {"times": times, "peak": 1000 * len(ids) * batch}


def run(*made):
    @contextlib.contextmanager
    def workers(contenders, settings, progress):
        yield [fake for fake in made if fake.contender in contenders]

    settings = BatchSettings(batches=(8, 1), contexts=(64, 16), new_tokens=6, runs=3)
    return bench_batches(SMOLLM2_135M, settings, [fake.contender for fake in made], workers=workers)


def test_each_batch_at_each_context_in_turn_after_a_round_that_does_not_count():
    plain, quick = Fake(PLAIN, 0.1), Fake(FP32, 0.05)
    report = run(plain, quick)
    cases = [(16, 6, 1), (16, 6, 8), (64, 6, 1), (64, 6, 8)]
    assert plain.asked == quick.asked == 4 * cases
    assert [(r.path, r.context, r.batch) for r in report.rows] == [
        (path, S, B) for path in ("plain", "fp32") for S, _, B in cases
    ]
    row = report.rows[3]
    assert row.itl_s.median == pytest.approx(0.8)  # and not the copying
    assert row.tokens_per_s.median == pytest.approx(8 / 0.8)
    assert row.ttft_s.median == 0.5 and row.peak_bytes == 64 * 8 * 1000
    moved = decode_bytes(SMOLLM2_135M, 8, 67, weight_bytes_per_number=4, cache_bytes_per_number=4)
    assert row.bytes_per_s == pytest.approx(moved / 0.8)
    assert row.flops_per_s == pytest.approx(decode_flops(SMOLLM2_135M, 8, 67) / 0.8)
    assert report.rate("fp32", 8, 64) == pytest.approx(20)
    assert report.rate("fp32", 9, 64) is None


def test_one_that_fails_is_named_and_one_that_takes_no_batches_is_not_asked():
    broken, alone = Fake(PLAIN, 0.1, fails_at=6), Fake(OPENVINO, 0.1)
    report = run(broken, Fake(FP32, 0.1), alone)
    assert report.failed == {"plain": "RuntimeError: no"} and not alone.asked
    assert [r.path for r in report.rows].count("fp32") == 4


def test_a_report_as_json_as_tables_and_as_a_picture(tmp_path):
    report = run(Fake(PLAIN, 0.1), Fake(FP32, 0.05))
    data = json.loads(json.dumps(report.as_dict()))
    assert set(data["rows"][0]) >= {
        "path", "batch", "context", "tokens_per_s", "itl_ms", "ttft_ms", "memory_mb"
    }  # fmt: skip
    assert data["rows"][0]["itl_ms"] == pytest.approx(100)
    out = io.StringIO()
    show_batches(report, Console(file=out, width=80))
    assert "64 positions, tokens/s of all texts" in out.getvalue()
    assert "TTFT of the prompt, ms: plain 500 · fp32 500" in out.getvalue()
    assert "…" not in out.getvalue()
    draw_batches(report, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text("utf-8")
    for text in ("64 positions", "texts at once", "plain", "fp32"):
        assert f"<!-- {text} -->" in drawn


@pytest.mark.parametrize("dtype", [None, "fp32", "w8a8"])
def test_our_texts_say_what_one_alone_says(dtype):
    model = tiny_decoder(dtype or "fp32").eval()
    model = fast(model) if dtype else model
    ids, clock = list(range(20)), Clock()
    made = several(model, ids, 5, 3, clock)
    assert len(clock.times) == 5
    assert made == [list(generate(model, torch.tensor([ids]), 5, eos_ids=()))] * 3


# llama.cpp


def test_a_file_that_has_the_format_is_taken_as_it_is(tmp_path):
    path = tmp_path / "model.Q4_1.gguf"
    assert llama_cpp.requantized(None, path, "Q4_1") == path


def test_structs_are_as_large_as_any_version_needs_and_begin_as_in_llama_h():
    for struct in (llama_cpp.Unnamed, llama_cpp.ContextParams, llama_cpp.QuantizeParams):
        assert ctypes.sizeof(struct) == 512
    assert llama_cpp.ContextParams.n_seq_max.offset == 12
    assert llama_cpp.QuantizeParams.allow_requantize.offset == 16
    assert ctypes.sizeof(llama_cpp.Batch) == 56


@pytest.fixture
def npm(monkeypatch, tmp_path):
    """An npm that brings a package with these files."""
    monkeypatch.setattr(prebuilt, "cache_folder", lambda: tmp_path / "cache")

    def brings(*names):
        def packed(folder):
            (folder / "file").write_bytes(b"library")
            with tarfile.open(folder / "package.tgz", "w:gz") as archive:
                for name in names:
                    archive.add(folder / "file", name)
            data = (folder / "package.tgz").read_bytes()
            monkeypatch.setattr(prebuilt, "SHA256", hashlib.sha256(data).hexdigest())
            return folder / "package.tgz"

        monkeypatch.setattr(prebuilt, "packed", packed)

    return brings


def test_the_prebuilt_library_is_unpacked_once_and_nothing_else_is(npm, monkeypatch):
    npm(f"{prebuilt.INSIDE}/libllama.so", "package/install.js", f"{prebuilt.INSIDE}/../../x.so")
    folder = prebuilt.libraries()
    assert [path.name for path in folder.iterdir()] == ["libllama.so"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    monkeypatch.setattr(prebuilt, "packed", lambda folder: pytest.fail("fetched again"))
    assert prebuilt.libraries() == folder


def test_a_package_with_another_checksum_is_not_unpacked(npm, monkeypatch):
    npm(f"{prebuilt.INSIDE}/libllama.so")
    own = prebuilt.packed

    def other(folder):
        path = own(folder)
        monkeypatch.setattr(prebuilt, "SHA256", "0" * 64)
        return path

    monkeypatch.setattr(prebuilt, "packed", other)
    with pytest.raises(UserError, match=r"has the SHA-256 .*: expected 0000"):
        prebuilt.libraries()
    assert not prebuilt.kept().exists() and not list(prebuilt.kept().parent.iterdir())


def test_what_npm_says_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "npm").write_text("#!/bin/sh\necho first >&2\necho 'no network' >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError, match=r"npm can't fetch .*: no network; pip install llama"):
        prebuilt.packed(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"can't fetch .*No such file.*; pip install llama"):
        prebuilt.packed(tmp_path)
