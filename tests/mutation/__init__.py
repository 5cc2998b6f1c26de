"""Which changes of the code its tests notice: `python -m tests.mutation`."""
