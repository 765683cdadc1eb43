#include <algorithm>

#include "policies/model/policy.h"

namespace bulkhead::policies {

bool Pattern::matches(std::string_view candidate) const {
  if (candidate.empty()) return false;
  switch (form) {
    case Form::kExact:
      return candidate == text;
    case Form::kPrefix:
      return candidate.starts_with(text);
    case Form::kSuffix:
      return candidate.ends_with(text);
    case Form::kAny:
      return true;
  }
  return false;
}

bool Source::matches_identity(std::string_view namespace_name, std::string_view service_account) const {
  const std::string own_principal = principal(trust_domain, namespace_name, service_account);
  return std::all_of(terms.begin(), terms.end(), [&](const SourceTerm& term) {
    const std::string_view text =
        term.field == SourceTerm::Field::kPrincipal ? std::string_view(own_principal) : namespace_name;
    const bool some = std::any_of(term.patterns.begin(), term.patterns.end(),
                                  [&](const Pattern& pattern) { return pattern.matches(text); });
    return some != term.negated;
  });
}

bool Source::matches(const Endpoint* endpoint, const AddressBytes& address) const {
  if (!any_address && std::none_of(blocks.begin(), blocks.end(),
                                   [&](const IpBlock& block) { return block.contains(address); }))
    return false;
  return endpoint == nullptr ? matches_identity({}, {})
                             : matches_identity(endpoint->namespace_name, endpoint->service_account);
}

std::string principal(std::string_view trust_domain, std::string_view namespace_name,
                      std::string_view service_account) {
  if (service_account.empty()) return {};
  std::string text(trust_domain);
  text.append("/ns/").append(namespace_name).append("/sa/").append(service_account);
  return text;
}

}  // namespace bulkhead::policies
