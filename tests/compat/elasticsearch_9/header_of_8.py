"""A pytest plugin that lets a 9.x client speak to an 8.x server.

A header of the client asks for a server that is compatible with 9, and an 8.x server refuses that before it reads the
request. With 8 in that header it answers. So every request of a 9.x client can be tested without a 9.x server.
"""

from elastic_transport import Urllib3HttpNode

perform_request = Urllib3HttpNode.perform_request


def perform_request_of_8(self, method, target, body=None, headers=None, **options):
    headers = {name: value.replace("compatible-with=9", "compatible-with=8") for name, value in (headers or {}).items()}
    return perform_request(self, method, target, body=body, headers=headers, **options)


Urllib3HttpNode.perform_request = perform_request_of_8
