"""From a policy to targets that obey it: one port, in-process and MQTT."""
