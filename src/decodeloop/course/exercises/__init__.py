"""The exercises, one module a lesson; `decodeloop.course.exercise` finds them by name."""
