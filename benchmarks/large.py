"""A large image and its edit in windows: time and peak memory of a run of pytest, metric by metric.

Each metric is a process of its own with an empty store; the figures are those of the whole process. What takes the
memory is the grid of features, which grows with the pixels and with the width of the network, so `--network wide` is a
random DINOv3 as wide as ViT-S (384), of one layer: the memory of a ViT-S/16, at a twelfth of its time.
"""

from __future__ import annotations

import networks
from common import options, print_table, run_pytest, workplace, write_pair

CASE = """\
cases:
  - id: large
    instruction: Change the object.
    source: source.png
    edited: edited.png
    coords: [{box}]
    metrics:
      emd: {{threshold: 1.0e+9, scope: null}}
      region_emd: 1.0e+9
      dinov3_structure_similarity: {{threshold: 0, scope: null}}
"""
CONFIG = """\
profile: large
metric_configs:
  emd:
    default_config: {{model_path: "{clip}", tile: {{size: {size}, overlap: {overlap}}}}}
  dinov3_structure_similarity:
    default_config: {{model_path: "{dinov3}", tile: {{size: {size}, overlap: {overlap}}}}}
"""
METRICS = ("::emd", "::region_emd", "::dinov3_structure_similarity")


def main() -> None:
    """Take the figures and print them."""
    parser = options(__doc__, side=2500, size=512, overlap=64)
    parser.add_argument("--network", choices=("embedded", "wide"), default="embedded", help="DINOv3; CLIP is embedded")
    asked = parser.parse_args()
    with workplace() as folder:
        box = write_pair(folder, asked.side)
        (folder / "large.edit.yaml").write_text(CASE.format(box=list(box)), "utf-8")
        profile = networks.embedded()
        dinov3 = networks.wide(folder / "dinov3") if asked.network == "wide" else profile.dinov3
        config = folder / "large.yaml"
        tile = {"size": asked.size, "overlap": asked.overlap}
        config.write_text(CONFIG.format(clip=profile.clip, dinov3=dinov3, **tile), "utf-8")
        rows = []
        for metric in METRICS:
            chosen = ("-p", "no:cacheprovider", "--editeval-device", asked.device, "--editeval-config", config)
            done = run_pytest(folder, *chosen, f"large.edit.yaml::large{metric}")
            rows.append((metric.strip(":"), f"{done.wall:.0f} s", f"{done.peak / 1e9:.2f} GB"))
    tiles = f"tile {asked.size} px, overlap {asked.overlap} px"
    title = f"A pair of {asked.side} x {asked.side} px, {tiles}, DINOv3 {asked.network}"
    print_table(title, ("", "time", "peak memory"), rows, device=asked.device)


if __name__ == "__main__":
    main()
