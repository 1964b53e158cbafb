"""How a shop may keep its stock, one file a strategy; the name of the file is the scenario's word."""
