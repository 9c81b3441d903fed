"""ContextGen: token layout, attention masks, the model on diffusers' FLUX, sampling."""
