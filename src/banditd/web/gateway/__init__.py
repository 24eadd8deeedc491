"""What the surfaces of the gateway share: names of models, options, errors in the client's form, the relay."""
