"""The command line: `banyan VERB`, or `python -m pipelines VERB`."""
