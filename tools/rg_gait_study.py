"""RG-Gait's tables for any three configs: retention, the poster's ablation, generalisation and adaptation.

    python tools/rg_gait_study.py configs/rg-gait/study_walkers.yaml --out study

What the folder holds already is not done again: a study that was killed goes on, and seeds, occlusions and tables can
be added to its YAML. See docs/rg-gait.md.
"""

from gaitext.studies.main import main

if __name__ == "__main__":
    main(__doc__)
