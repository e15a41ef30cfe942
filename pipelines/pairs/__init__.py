"""From leads and products to scored pairs: hard rules by set, chances by the models, value."""
