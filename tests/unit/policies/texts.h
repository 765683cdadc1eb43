// Shorthand for tests that put a text in and expect policies or messages out.
#pragma once

#include <string>
#include <vector>

#include "policies/load/load.h"

namespace bulkhead::policies {

inline Loaded load_text(const std::string& text, const LoadOptions& options = {}) {
  const std::vector<File> files = {{"p.yaml", text}};
  return load(files, options);
}

/// All messages, one a line.
inline std::string refusal(const std::string& text, const LoadOptions& options = {}) {
  std::string lines;
  for (const auto& error : load_text(text, options).errors)
    lines += (lines.empty() ? "" : "\n") + format(error);
  return lines;
}

/// A NetworkPolicy `shop/p` with this spec, each line of which is indented by two.
inline std::string network_policy(const std::string& spec) {
  return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: "
         "shop}\nspec:\n" +
         spec;
}

/// A SegmentationPolicy `shop/p` with this list of edges, each line of which is indented by two.
inline std::string segmentation_policy(const std::string& edges) {
  return "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p, namespace: "
         "shop}\nspec:\n  "
         "edges:\n" +
         edges;
}

/// An AuthorizationPolicy `shop/p` with this spec, each line of which is indented by two.
inline std::string authorization_policy(const std::string& spec) {
  return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: "
         "shop}\nspec:\n" +
         spec;
}

/// An object of the whole cluster with this spec, each line of which is indented by two.
inline std::string cluster_object(const std::string& version, const std::string& kind,
                                  const std::string& spec) {
  return "apiVersion: policy.networking.k8s.io/" + version + "\nkind: " + kind +
         "\nmetadata: {name: default}\nspec:\n" + spec;
}

/// An Invariant `default` with this spec, each line of which is indented by two.
inline std::string invariant(const std::string& spec) {
  return "apiVersion: bulkhead.io/v1alpha1\nkind: Invariant\nmetadata: {name: default}\nspec:\n" + spec;
}

inline std::vector<YamlNode> parse_text(const std::string& text, Report& report, const Limits& limits = {}) {
  return parse_documents(text, report, limits);
}

}  // namespace bulkhead::policies
