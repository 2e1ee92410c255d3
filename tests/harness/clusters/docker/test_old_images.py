"""`doctor --clean` removes the images that changed sources left behind, and none that is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.clusters.docker.leftovers import old_images


class Engine:
    """As far as images go."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.removed: list[str] = []
        self.images = SimpleNamespace(list=self._list, remove=lambda image, force: self.removed.append(image))
        self.containers = SimpleNamespace(list=lambda **how: [SimpleNamespace(attrs={"Image": "used"})])

    def _list(self, filters: dict[str, str]) -> list[Any]:
        self.asked.append(filters)
        made = {"used": "2026-01-01T00:00:00Z", "old": "2026-01-02T00:00:00Z", "new": "2026-01-03T00:00:00Z"}
        return [
            SimpleNamespace(id=name, tags=[f"chaos-node:{name}"], attrs={"Created": created})
            for name, created in made.items()
        ]


def test_the_newest_image_and_those_of_containers_stay() -> None:
    engine = Engine()
    [leftover] = old_images(engine)
    assert engine.asked == [{"label": "chaos.image=node"}]
    assert leftover.what == "image chaos-node:old"
    assert not leftover.in_use
    leftover.remove()
    assert engine.removed == ["old"]
