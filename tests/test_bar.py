import rich.console

from decodeloop.bar import progress_bar


def test_a_log_gets_the_steps_and_where_they_ended(capsys):
    with progress_bar() as show:
        show("load", 0.5)
        show("load", 1.0)
    said = capsys.readouterr().err
    assert "load" in said and "100 %" in said


def test_nothing_done_is_nothing_said(capsys):
    with progress_bar():
        pass
    assert capsys.readouterr().err == ""


def test_a_notebook_gets_one_line_and_no_question_for_widgets(capsys, monkeypatch, recwarn):
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    with progress_bar() as show:
        for step, fraction in (("load", 0.0), ("load", 0.501), ("load", 0.502), ("run", 1.0)):
            show(step, fraction)
    said = capsys.readouterr().err
    assert said.split("\r") == [
        "", "load             0%", "load            50%", "run            100%\n",
    ]  # fmt: skip
    assert not recwarn.list
