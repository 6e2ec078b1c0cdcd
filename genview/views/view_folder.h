// The folder of views: pictures under the names of their sources, and manifest.jsonl, whose rows come after their
// files. Killed at any point, it holds whole pictures and whole rows; what it holds can be told from what is missing.
//
// With shards, views k * per_shard and the following are members of views-000k.tar. They are files of their own until
// their shard is packed: out of them, and out of what an older shard of that name holds. A view's row is then written
// again.
//
//   ViewFolder folder(config.out, settings, wanted);         // wanted: the row of every view, in order, as it will be
//   if (!folder.Has(view)) folder.WritePicture(view, bytes, w, h), folder.AddRow(view, picture, false);
//   folder.Finish();                                          // the manifest in the order of the sources
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "genview/data/source.h"
#include "genview/data/tar_index.h"
#include "genview/records/records.h"
#include "genview/views/config.h"

namespace genview {

// Ending of the files of a format: ".png", ".jpg", ".webp".
std::string ViewEnding(ViewFormat format);

// File names of all views, image by image: the id with `ending` in place of its own, "_k" before it for k > 0. Where
// two views would share one, both keep the id's ending ("a.jpg.png"); so does a view that would have the name of
// another's folder. A digest stands for names longer than 255 bytes.
std::vector<std::string> ViewFileNames(const ImageSource& source, int64_t per_image,
                                       const std::string& ending = ".png");

std::string ShardName(int64_t shard);  // "views-0000.tar"
bool IsShardName(const std::string& file);
// Whether a view can have been written to a file of this name: .png, .jpg or .webp, or a shard.
bool LooksLikeView(const Path& file);

// Whether a view in `folder` is of another picture than image `i` is now, as far as rows say. A picture's file is read
// only where it has been changed since the view was written.
bool IsOfAnotherPicture(const ImageSource& source, int64_t i, const Path& folder, const ViewRow& row);

class ViewFolder {
 public:
  // Rows that are there, agree with `wanted` and have their file are kept, if the folder was made with the same
  // `settings` (everything a picture depends on that no row names); all others are dropped. `redo`: nothing is kept.
  // Throws UsageError where there are pictures in a folder that holds no views so far: they are somebody's, and a
  // repair would take them for views without a row; or, but with `forget`, where there are views that nobody asks for.
  ViewFolder(const Path& folder, const Json& settings, std::vector<ViewRow> wanted, bool redo, int64_t per_shard = 0,
             bool forget = false);
  int64_t replaced() const { return replaced_; }  // views that were there and are to be made anew
  // The same folder in process `rank` of several, once process 0 has opened it as above. Its rows go into files of its
  // own, which process 0 takes over at the end, or when the same command is run again.
  ViewFolder(const Path& folder, std::vector<ViewRow> wanted, int64_t rank, int64_t per_shard = 0);

  // What is said of a view, and what is done to it one call after the other, may go on beside calls for other views.
  bool Has(int64_t view) const { return done_[static_cast<size_t>(view)] != 0; }
  // A view that came out unusable in fp32, too, in this run or one before: it would be no better the next time.
  bool IsLost(int64_t view) const { return !rows_[static_cast<size_t>(view)].fault.empty(); }
  int64_t count() const { return count_; }  // views that are there
  const ViewRow& wanted(int64_t view) const { return rows_[static_cast<size_t>(view)]; }
  // The picture's file, of several views at once. Its row, which vouches for it, comes after it.
  void WritePicture(int64_t view, std::string_view bytes, int64_t width, int64_t height);
  // One row after the other. `picture`: fingerprint of the image that the view is made of.
  void AddRow(int64_t view, const std::string& picture, bool retried);
  void AddLost(int64_t view, const std::string& picture, const std::string& fault);  // into lost.jsonl
  // Views that are there, or lost, are so no more. In process 0, before the others open the folder.
  void Drop(const std::vector<int64_t>& views);
  void PackShard(int64_t shard);  // when all of its views are made, lost or left out
  void Close();                   // rows are on the disk; none can be added
  void Finish();  // process 0, after all have closed: all shards, and the tables in the order of the sources

 private:
  struct Tables {
    Path manifest, lost;
  };
  std::vector<ViewRow> RowsThere() const;
  void RefuseForeignFiles() const;
  void RefuseToForget(const std::vector<ViewRow>& there) const;
  void RemoveUnwanted(const std::vector<ViewRow>& there) const;
  Tables TablesOf(int64_t rank) const;
  std::vector<Tables> TablesOfOthers() const;
  bool TakeRows(const Tables& tables, bool redo);  // true when some were of no use
  bool Locate(ViewRow& row, size_t view);          // false: its picture is not there
  void WriteTables() const;

  using Members = std::unordered_map<std::string, TarMember>;  // by name
  std::string ShardOf(size_t view) const;                      // file name; "" without shards
  // As they are now, or were when first asked for; none in a damaged one.
  const Members& MembersOf(const std::string& shard);
  std::vector<size_t> Pack(int64_t shard);  // the views whose own files it makes superfluous
  void RemoveFiles(const std::vector<size_t>& views) const;
  void RemoveEmptyFolders() const;

  Path folder_;
  std::vector<ViewRow> rows_;
  std::string negative_prompt_;                       // of all views, by the settings; rows of older versions lack it
  std::vector<char> done_;                            // bytes, since threads look at some while others are set
  std::unordered_map<std::string, size_t> places_;    // by id and index
  std::unordered_map<std::string, Members> members_;  // by shard
  int64_t count_ = 0, rank_ = 0, per_shard_ = 0, replaced_ = 0;
  std::unique_ptr<LineLog> log_, lost_log_;
};

}  // namespace genview
