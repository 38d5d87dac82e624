"""An HTTP door to SyncNet: a small service beside Triton, and a page to look at one clip.

    from syncnet_gateway.app import create_app
    from syncnet_gateway.settings import Settings

    app = create_app(Settings(url="localhost:8001"))    # an ASGI application

The package uses the client's own API and scores nothing itself.
"""
