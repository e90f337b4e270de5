"""What runs inside the sandbox, beside an answer; `pipe`, `values` and `peer` also outside of it.

Nothing here imports the rest of the package: inside it is not there. What an answer needs of it is
sent on demand, without what the exercise asks for.
"""
