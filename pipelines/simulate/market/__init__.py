"""The participants and supply of a market: channels, lenders, catalogues and leads."""
