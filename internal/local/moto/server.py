"""Starts moto's server with the permissions boundary of IAM users, with some of
AWS's own policies, and with events that arrive on another bus as they were sent.

moto 5.2.5 lacks PutUserPermissionsBoundary and DeleteUserPermissionsBoundary,
and takes no notice of the boundary that CreateUser is given. This stand-in
answers these two calls and adds the boundary to CreateUser, GetUser and
GetAccountAuthorizationDetails; all else is moto's own. As in moto altogether,
a boundary is kept and told, and not enforced.

moto sends an event to the bus of another account or Region as a new one of that
account and Region, leaves the account out where it hands one to a queue, and takes
no notice of a rule's state. EventBridge keeps the event's id, account, Region and
time, forwards none a second time, and matches nothing with a rule that is disabled.
And in a template of CloudFormation, a reference to a bus is its name.
"""

import sys
from copy import copy, deepcopy
from functools import cache
from json import loads

from moto.core.responses import EmptyResult
from moto.core.serialize import never_return
from moto.events.models import EventBus, Rule, events_backends
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import NotFoundException
from moto.iam.models import AWSManagedPolicy, IAMBackend, User
from moto.iam.responses import IamResponse
from moto.server import main

# Those of AWS's own policies that can be attached. moto has all or none: all of
# them, in every account, would take it seconds.
ATTACHABLE = ("AdministratorAccess", "AWSDenyAll", "IAMFullAccess", "PowerUserAccess")

create_user = IamResponse.create_user


def init_aws_policies(self):
    data = policies_of_aws()
    return [AWSManagedPolicy.from_data(name, self.account_id, self.region_name, data[name]) for name in ATTACHABLE]


@cache
def policies_of_aws():
    """AWS's own policies by their names; moto loads none of them unless asked."""
    return loads(aws_managed_policies_data)


def checked(backend, arn):
    """A boundary is a managed policy that exists, AWS's or the account's own."""
    of_aws, _, name = arn.partition(":iam::aws:policy/")
    if arn in backend.managed_policies or of_aws.startswith("arn:") and name.split("/")[-1] in policies_of_aws():
        return arn
    raise NotFoundException(f"Scope ARN: {arn} does not exist or is not attachable.")


def create_user_with_boundary(self):
    arn = self._get_param("PermissionsBoundary")
    if arn:
        checked(self.backend, arn)
    result = create_user(self)
    self.backend.get_user(self._get_param("UserName")).permissions_boundary_arn = arn
    return result


def put_user_permissions_boundary(self):
    user = self.backend.get_user(self._get_param("UserName"))
    user.permissions_boundary_arn = checked(self.backend, self._get_param("PermissionsBoundary"))
    return EmptyResult()


def delete_user_permissions_boundary(self):
    # What IAM says of a user without one is not documented; moto's own call for
    # roles says nothing either.
    self.backend.get_user(self._get_param("UserName")).permissions_boundary_arn = None
    return EmptyResult()


def permissions_boundary(self):
    if not self.permissions_boundary_arn:
        return None
    return {
        "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
        "PermissionsBoundaryArn": self.permissions_boundary_arn,
    }


send_to_targets = Rule.send_to_targets


def is_bus(target):
    return ":event-bus/" in target["Arn"]


def send(self, event, _transform_input=True):
    if self.state == "DISABLED" or not self.event_pattern.matches_event(event):
        return
    for target in self.targets:
        if not is_bus(target):
            near = copy(self)
            near.targets = [target]
            # moto transforms what has no transformer too, and loses the account.
            send_to_targets(near, deepcopy(event), "InputTransformer" in target)
    for target in filter(is_bus, self.targets):
        _, _, _, region, account, name = target["Arn"].split(":", 5)
        bus = events_backends[account][region].describe_event_bus(name.split("/")[-1])
        for rule in bus.rules.values():
            last = copy(rule)
            last.targets = [t for t in rule.targets if not is_bus(t)]
            send(last, event)


Rule.send_to_targets = send
EventBus.physical_resource_id = property(lambda self: self.name)
IAMBackend._init_aws_policies = init_aws_policies
User.permissions_boundary_arn = None
User.permissions_boundary = property(permissions_boundary)
IamResponse.create_user = create_user_with_boundary
IamResponse.put_user_permissions_boundary = put_user_permissions_boundary
IamResponse.delete_user_permissions_boundary = delete_user_permissions_boundary
# Lists of users leave it out (IAM API reference, ListUsers).
IamResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER["ListUsersResponse.Users.User.PermissionsBoundary"] = never_return

if __name__ == "__main__":
    sys.exit(main())
