"""What every training run here needs: processes (Lightning Fabric's), checkpoints that appear whole, logs."""
