"""The pictures that lessons share: what stands in them."""

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from decodeloop.course import figures


@pytest.mark.parametrize("order", ["pre-norm", "post-norm"])
def test_a_block_diagram_has_both_sublayers_each_with_its_norm(order):
    _, ax = plt.subplots()
    figures.block_diagram(order, ax)
    words = [text.get_text() for text in ax.texts]
    assert ax.get_title() == order
    assert words.count("norm") == 2 and words.count("+") == 2
    assert {"attention", "feed-forward"} <= set(words)
    plt.close()
