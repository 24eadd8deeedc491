"""The anchor: a frozen state of a policy that decides for a small part of the traffic."""
