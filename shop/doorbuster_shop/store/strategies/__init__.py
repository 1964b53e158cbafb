"""How a shop may keep its stock: a file a strategy, named by the scenario's word for it."""
