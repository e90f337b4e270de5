"""What a test of `serve` is made of: the museum puts a faulty part in the place of one.

`Drive` is the museum's engine without a model, which remembers its plans.
"""

from __future__ import annotations

from decodeloop.course import museum
from decodeloop.course.museum import rig


class Kit(museum.Kit):
    def manager(self, count, size, **options):
        return self.BlockManager(count, size, self.block_parts, **options)

    def drive(self, count, size, **options):
        return Drive(self, count, size, **options)


class Drive(rig.Engine):
    def __init__(self, kit, count, size, **options):
        super().__init__(kit, count, size, **options)
        self.blocks = self.pool.blocks
        self.plans = []

    def plan(self):
        self.plans.append(super().plan())
        return self.plans[-1]

    def run(self):
        super().run(most_steps=1000)
