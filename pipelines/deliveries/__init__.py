"""From matches to lead files: only what each institution may see, judged again from the bytes."""
