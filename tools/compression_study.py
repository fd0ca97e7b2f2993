"""Repeat the artifact-correction paper's experiment: Table I, histograms, panels, Tables II and III.

    python tools/compression_study.py configs/correction/walkers.yaml --out study

It needs gaitext[video,coco,standalone,plot]. What the folder holds already is not done again: a study that was killed
goes on. See docs/artifact-correction.md, and docs/studies.md for what all studies write.
"""

from gaitext.studies.main import main

if __name__ == "__main__":
    main(__doc__)
