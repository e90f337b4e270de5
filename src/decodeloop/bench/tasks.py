"""What people ask for, by how much of the answer stands in the question: for drafts that copy."""

from __future__ import annotations

ARTICLE = """\
The town library of Ferndale will close its main building for eleven months from the third of March.
The roof, which was built in 1924, leaks in four places, and the heating has failed twice this
winter. During the works the children's room moves to the old fire station in Mill Street, where it
will be open from ten to six on every day but Sunday. All other books can be ordered by telephone
and fetched at the railway station. The mayor, Anna Lindqvist, said that the town had put aside
three million crowns for the works, and that another two million may come from the county. Readers
who have borrowed books may keep them until the building opens again in February."""

CODE = '''\
def area(shape):
    """The area of a circle, a square or a rectangle."""
    if shape["kind"] == "circle":
        return 3.14159 * shape["radius"] ** 2
    if shape["kind"] == "square":
        return shape["side"] ** 2
    if shape["kind"] == "rectangle":
        return shape["width"] * shape["height"]
    raise ValueError("unknown shape")
'''

# The first three copy much of what they were given or have just said, the others little.
TASKS = {
    "code edit": "Rewrite this function so that its argument is called `figure` in the place of "
    f"`shape`. Give the whole function.\n\n```python\n{CODE}```",
    "list": "Write the numbers from one to thirty in words, one on each line.",
    "extraction": "Copy out each sentence of this text in which there is a number or a date, word "
    f"by word:\n\n{ARTICLE}",
    "summary": f"Summarize this text in three sentences:\n\n{ARTICLE}",
    "chat": "Why is the sky blue?",
    "story": "Write a short story about a fox who learns to swim.",
}
