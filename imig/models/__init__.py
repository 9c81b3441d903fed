"""Model families: adapters that give real models one small face (`imig.models.protocols`)."""
