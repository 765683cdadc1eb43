// CidrGroup, bulkhead.io/v1alpha1: address blocks under a name, and how that name is looked up.
//
// A group may stand in another file than who speaks of it, before or behind it. So whoever reads a name leaves a
// place for it, and once everything is read the places are filled:
//
//   named_group() ──► IpBlock that is a place ──► PolicySet ──► fill_groups() ──► IpBlocks of the group
#pragma once

#include <span>
#include <string>
#include <vector>

#include "policies/load/error.h"
#include "policies/load/fields.h"
#include "policies/model/policy.h"

namespace bulkhead::policies {

/// All blocks of one group, those of groups in it too.
inline constexpr std::size_t kGroupBlocksMax = 10'000;
inline constexpr std::size_t kGroupDepthMax = 16;
/// Of a whole set, each time that a rule at one end names a group, or another group does: a hundred bytes each.
/// Exceptions of blocks count like blocks.
inline constexpr std::size_t kFilledBlocksMax = 1'000'000;

/// `cidr` and `except`. The block is ::/0 where an error was reported.
IpBlock read_ip_block(Fields& fields);

/// A place for the group's blocks.
IpBlock named_group(const Value& name);

void read_cidr_group(const Value& spec, CidrGroup& group);

/// Fills every place of the set. Adds an error for each reference whose name no group has, for groups that lie
/// within themselves, and for those that are too large.
void fill_groups(PolicySet& set, std::span<const Reference> references, std::vector<Error>& errors);

}  // namespace bulkhead::policies
