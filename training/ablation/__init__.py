"""The paper's ablations (Sec. 6.3): `python -m training.ablation`."""
