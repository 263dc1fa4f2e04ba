"""Draw the README's pictures from the shipped checkpoint: a bottle is poured from.

The bottle goes through the same door as a user's mesh, so the pictures show what `hoi generate` makes and
nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import trimesh
from PIL import Image

from hoi_lib import plots, viewer
from hoi_lib.generate import contact_distance, generate
from hoi_lib.objects import ObjectModel, load_object

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
TEXT = "Pick up the bottle and pour with right hand."


def main() -> None:
    """Write hero.png and grasp.gif."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2)
    seed = parser.parse_args().seed
    shape = load_object("bottle_medium")
    mesh = trimesh.Trimesh(shape.vertices * 0.95, shape.faces, process=False)
    model = ObjectModel.from_mesh(mesh, name="bottle", scale=1.0)
    clip, _ = generate(TEXT, model, seed=seed)
    contact = {side: gap < 0.005 for side, gap in contact_distance(clip, model).items()}
    scene = viewer.scene_of(clip, model, contact=contact)
    shares = (0.02, 0.14, 0.35, 0.52, 0.7, 0.97)
    strip = plots.film_strip(scene, [round(x * (scene.frames - 1)) for x in shares], size=(300, 280), zoom=1.075)
    Image.fromarray(strip).save(ASSETS / "hero.png", optimize=True)
    viewer.save_gif(scene, ASSETS / "grasp.gif", size=320)


if __name__ == "__main__":
    main()
