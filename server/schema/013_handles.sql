-- Influencers by handle: the handle first. With the workspace first, PostgreSQL took this index to check
-- each reference to an influencer (workspace and id) while it had no statistics yet, and read the whole
-- workspace for it: a roster of 10,000 new influencers took minutes.

drop index kudos.influencers_handle;
create unique index influencers_handle on kudos.influencers (lower(handle), workspace_id);
