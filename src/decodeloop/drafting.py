"""A draft by its name: who guesses the next tokens of a loaded model.

It stands above the rooms that it combines, as `loading` does.
"""

from __future__ import annotations

from decodeloop.decode import AdaptiveLength, Draft, ModelDraft, PromptLookup, Speculation
from decodeloop.errors import UserError, printable
from decodeloop.loading import LanguageModel, load

LOOKUP = "lookup"
# The same model in fewer bits, and what one of its steps costs in steps of the compiled fp32 one.
MODELS = {"int8": 0.4, "int4": 0.3}


def speculation_of(llm: LanguageModel, draft: str, k: int | None = None) -> Speculation:
    """How a model makes its text with a draft.

    Args:
        draft: ``lookup`` copies what followed in the text before; ``int8`` or ``int4`` is the same
            model with weights in fewer bits.
        k: always so many drafted tokens; as many as pay, if not given.

    Raises:
        UserError: there is no such draft, it is no quicker than the model, or k is less than 1.
    """
    check_draft(draft, k)
    return Speculation(draft_of(llm, draft), AdaptiveLength() if k is None else k)


def draft_of(llm: LanguageModel, name: str) -> Draft:
    """The draft itself."""
    if name == LOOKUP:
        return PromptLookup()
    return ModelDraft(load(llm.name, llm.device, name).model, MODELS[name])


def check_draft(draft: str, k: int | None, dtype: str = "fp32") -> None:
    """Raise a `UserError` unless there is such a draft for a model with such weights."""
    known = [LOOKUP, *MODELS]
    if draft not in known:
        raise UserError(
            f"the draft is {printable(draft)!r}: expected {', '.join(known[:-1])} or {known[-1]}."
        )
    if draft in MODELS and dtype in ("int8", "w8a8", "int4"):
        raise UserError(
            f"the draft is {draft} and the weights are {dtype}: expected a draft that is much "
            f"quicker than the model; take {LOOKUP}, or weights in fp32."
        )
    if k is not None and k < 1:
        raise UserError(
            f"{k} tokens are to be drafted for a step: expected at least 1; leave it out for as "
            f"many as pay."
        )
