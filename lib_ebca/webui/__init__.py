"""The AUTOMATIC1111 WebUI's side: the only rooms that know gradio and the WebUI's own modules."""
