"""How bad input is answered on the command line."""


def assert_one_sentence(err, *parts):
    """One line, one sentence, which says what was given, what was expected and what to do."""
    assert err.startswith("decodeloop: "), err
    assert err.endswith(".\n"), err
    assert err.count("\n") == 1, err
    assert ". " not in err, err
    assert not [part for part in parts if part not in err], err
