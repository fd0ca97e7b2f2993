"""Reports: a run's or a study's numbers as one page, with published ones beside; runs compared."""
