"""Run a study: train and test what its YAML says, and decide its claims.

    python tools/gaitheat_study.py configs/studies/gaitheat_walkers.yaml --out study

What the folder holds already is not done again: a study that was killed goes on, and rows can be added to its YAML.
See docs/studies.md.
"""

from gaitext.studies.main import main

if __name__ == "__main__":
    main(__doc__)
