"""The parts of stage.py, status.py and doctor.py. Standard library only: nothing is installed yet."""
