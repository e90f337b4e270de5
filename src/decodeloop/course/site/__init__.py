"""The site: the worked notebooks as they are stored, and pages made out of what the project knows.

Nothing is run: Sphinx gets notebooks with their outputs. The functions here turn what lies in the
checkout into Sphinx's sources; how they look, and what checks them, lies in `tools/site`, since it
is no Python that anybody imports. These stand in the package because they read lessons, exercises
and paths as the rest of the course does, and are tested like it.
"""

from decodeloop.course.site.preparing import prepare

__all__ = ["prepare"]
