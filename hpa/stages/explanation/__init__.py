"""Why a network says so: attribution maps, judged and shown."""
